//! A TCP relay that adds a round-trip time, like a gateway on another continent.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::background::{self, Background};

/// Bytes per read.
const CHUNK: usize = 64 * 1024;
/// Chunks in flight in one direction: 64 MiB, more than any network path holds.
const UNDER_WAY: usize = 1024;

/// A relay. Dropping it closes its connections.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    _background: Background,
}

impl Relay {
    /// The address to connect to instead of the target.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Relays connections to `target` with half of `rtt` in each direction, plus one `rtt` for the TCP handshake, which
/// takes no time on loopback.
///
/// Timers have a resolution of one millisecond, so each direction may take up to one more. Throughput is not limited.
///
/// # Errors
///
/// No port or no thread is available.
pub fn start(target: SocketAddr, rtt: Duration) -> io::Result<Relay> {
    let (listener, address) = background::listen()?;
    let run = move || {
        background::accept(listener, move |client, _| async move {
            // Connections may be broken by either side.
            let _ = relay(client, target, rtt).await;
        })
    };
    Ok(Relay { address, _background: Background::start("relay", run)? })
}

async fn relay(client: TcpStream, target: SocketAddr, rtt: Duration) -> io::Result<()> {
    let established = Instant::now() + rtt;
    let server = TcpStream::connect(target).await?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // An error on one side aborts the other. A regular end lets it finish.
    tokio::try_join!(
        delayed(from_client, to_server, established, rtt / 2),
        delayed(from_server, to_client, established, rtt / 2),
    )?;
    Ok(())
}

/// Copies data. Each chunk is written `delay` after it was read, and none before the connection is `established`.
async fn delayed<R, W>(mut reader: R, mut writer: W, established: Instant, delay: Duration) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (sender, mut receiver) = mpsc::channel::<(Instant, Bytes)>(UNDER_WAY);
    let read = async move {
        loop {
            let mut chunk = BytesMut::with_capacity(CHUNK);
            let read = reader.read_buf(&mut chunk).await?;
            let due = Instant::now().max(established) + delay;
            // An empty chunk marks the end, which is delayed as well.
            if sender.send((due, chunk.freeze())).await.is_err() || read == 0 {
                return Ok(());
            }
        }
    };
    let write = async move {
        while let Some((due, chunk)) = receiver.recv().await {
            tokio::time::sleep_until(due).await;
            if chunk.is_empty() {
                return writer.shutdown().await;
            }
            writer.write_all(&chunk).await?;
        }
        Ok(())
    };
    tokio::try_join!(read, write)?;
    Ok(())
}
