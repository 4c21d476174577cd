//! A TCP relay that adds a round trip time, as a gateway on the other side of an ocean has one.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::background::{self, Background};

/// Bytes read at once.
const CHUNK: usize = 64 * 1024;
/// Chunks under way in one direction: 64 MiB, more than any line holds.
const UNDER_WAY: usize = 1024;

/// A relay; dropping it closes its connections.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    _background: Background,
}

impl Relay {
    /// Where to connect in place of the target.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Relays connections to `target` with half of `rtt` in each direction, and one `rtt` more for TCP's handshake, which
/// the loopback would do in no time.
///
/// Timers tick in milliseconds: each direction takes up to one more than it should. Throughput is not limited.
///
/// # Errors
///
/// No port is free, or no thread to be had.
pub fn start(target: SocketAddr, rtt: Duration) -> io::Result<Relay> {
    let (listener, address) = background::listen()?;
    let run = move || {
        background::accept(listener, move |client, _| async move {
            // A connection that breaks is its two ends' affair.
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
    // The first that breaks takes the other with it; an end in order lets it finish.
    tokio::try_join!(
        delayed(from_client, to_server, established, rtt / 2),
        delayed(from_server, to_client, established, rtt / 2),
    )?;
    Ok(())
}

/// Copies what is read, each chunk `delay` after it was read and none before the connection is `established`.
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
            // An empty chunk is the end, which takes its time as well.
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
