//! Requests of one connection in their order, and their answers in the same.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split},
    sync::mpsc,
    task::JoinHandle,
};

use crate::{
    answer::{self, Answer},
    raw,
    request::{Get, Next},
    shared::Shared,
    upstream::Upstream,
    wire::Wire,
};

/// How many requests are asked upstream at once. Programs send some ten before the first is answered.
const AT_ONCE: usize = 6;

/// A request whose answer is being found.
struct Asked {
    get: Get,
    answer: JoinHandle<io::Result<Answer>>,
}

/// How the requests ended.
enum End {
    /// None will follow.
    Over,
    /// Something else follows, which begins so.
    Other(Vec<u8>),
}

/// Answers requests until the connection ends, or says something else; `asked` becomes true with the first.
pub(crate) async fn hold(
    shared: &Arc<Shared>,
    step: Box<dyn Wire>,
    upstream: Upstream,
    asked: &AtomicBool,
) -> io::Result<()> {
    let upstream = Arc::new(upstream);
    let (mut reader, mut writer) = split(step);
    let (order, answers) = mpsc::channel(AT_ONCE);
    let end = {
        let reading = read(shared, &upstream, (&mut reader, asked), order);
        let writing = write(shared, &upstream, answers, &mut writer);
        tokio::pin!(reading, writing);
        tokio::select! {
            end = &mut reading => {
                let goes_on = writing.await?;
                if goes_on { end? } else { End::Over }
            }
            // It ends first only where the connection does.
            written = &mut writing => written.map(|_| End::Over)?,
        }
    };
    match end {
        End::Over => writer.shutdown().await,
        End::Other(begun) => {
            asked.store(true, Ordering::Relaxed);
            let mut other = upstream.connect().await?;
            other.write_all(&begun).await?;
            raw::hand_on(reader.unsplit(writer), other).await
        }
    }
}

async fn read(
    shared: &Arc<Shared>,
    upstream: &Arc<Upstream>,
    (step, asked): (&mut ReadHalf<Box<dyn Wire>>, &AtomicBool),
    order: mpsc::Sender<Asked>,
) -> io::Result<End> {
    let mut buffer = Vec::with_capacity(8 << 10);
    loop {
        match Get::take(&mut buffer) {
            Next::Get(get) => {
                asked.store(true, Ordering::Relaxed);
                let goes_on = get.goes_on();
                let (shared, upstream, asking) = (Arc::clone(shared), Arc::clone(upstream), get.clone());
                let answer = tokio::spawn(async move { answer::find(&shared, &upstream, &asking).await });
                if order.send(Asked { get, answer }).await.is_err() || !goes_on {
                    return Ok(End::Over);
                }
            }
            Next::Other => return Ok(End::Other(buffer)),
            Next::Partial => {
                if step.read_buf(&mut buffer).await? == 0 {
                    return Ok(End::Over);
                }
            }
        }
    }
}

/// Writes the answers; returns whether the connection can go on.
async fn write(
    shared: &Shared,
    upstream: &Upstream,
    mut answers: mpsc::Receiver<Asked>,
    step: &mut WriteHalf<Box<dyn Wire>>,
) -> io::Result<bool> {
    while let Some(Asked { get, answer }) = answers.recv().await {
        let answer = answer.await.map_err(io::Error::other)??;
        if !answer.write(shared, upstream, &get, step).await? {
            return Ok(false);
        }
    }
    Ok(true)
}
