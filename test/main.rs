//! What a user meets: the built pipe with an empty environment, against the local gateway.

mod bad_days;
mod binary;
mod bounded;
mod connect;
mod connections;
mod consistency;
mod deploy;
mod diff;
mod explain;
mod faults;
mod invoke;
mod leak;
mod pipe_binary;
mod prune;
mod readme;
mod release;
mod remove;
mod results;
mod stack;
mod stop;
mod support;
mod variables;
mod wait;
mod whoami;
