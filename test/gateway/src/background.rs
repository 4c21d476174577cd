//! Servers in threads of their own, for tests that are not asynchronous.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// A thread with a runtime that drives one future. Dropping it stops the future and its tasks.
#[derive(Debug)]
pub(crate) struct Background {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Drives the future that `make` creates in the thread.
    pub(crate) fn start<F, M>(name: &str, make: M) -> io::Result<Self>
    where
        F: Future<Output = ()>,
        M: FnOnce() -> F + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = make() => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // The panic message of the thread has been printed already.
            let _ = thread.join();
        }
    }
}

/// Waits for SIGINT or SIGTERM: the first process of a container has no default action for them.
///
/// # Errors
///
/// The signals cannot be handled.
pub fn wait_for_signal() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = terminated.recv() => Ok(()),
        }
    })
}

/// Listens on a free port of the loopback interface.
pub(crate) fn listen() -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Spawns a task for each connection. Connections are numbered from 1.
pub(crate) async fn accept<F>(listener: TcpListener, mut serve: impl FnMut(TcpStream, u64) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    listener.set_nonblocking(true).expect("a listening socket can be made non-blocking");
    let listener = tokio::net::TcpListener::from_std(listener).expect("the runtime drives sockets");
    let mut connection = 0;
    loop {
        let Ok((tcp, _)) = listener.accept().await else {
            // Usually out of file descriptors. Some will be closed soon.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        // An error only costs time.
        let _ = tcp.set_nodelay(true);
        connection += 1;
        tokio::spawn(serve(tcp, connection));
    }
}
