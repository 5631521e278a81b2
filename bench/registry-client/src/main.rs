//! Pushes files as blobs with `oci-client`, or pulls them, all at once; says the time and the most memory that it took.
//!
//! ```text
//! registry-client push REGISTRY/REPOSITORY FILE…     the files' names are the hexadecimal digits of their SHA-256
//! registry-client pull REGISTRY/REPOSITORY DIRECTORY HEX…
//! ```

use std::{path::Path, sync::Arc, time::Instant};

use futures_util::{StreamExt, TryStreamExt, future::try_join_all};
use oci_client::{
    Client, Reference, RegistryOperation,
    client::{ClientConfig, ClientProtocol},
    errors::OciDistributionError,
    manifest::OciDescriptor,
    secrets::RegistryAuth,
};
use tokio::fs::File;
use tokio_util::io::ReaderStream;

type Failure = Box<dyn std::error::Error>;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    rustls::crypto::ring::default_provider().install_default().ok();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [verb, repository, rest @ ..] = &arguments[..] else { return Err("push or pull, and a repository".into()) };
    let image: Reference = format!("{repository}:latest").parse()?;
    let config = ClientConfig { protocol: ClientProtocol::Http, use_monolithic_push: true, ..ClientConfig::default() };
    let client = Arc::new(Client::new(config));
    let started = Instant::now();
    if verb == "push" {
        client.auth(&image, &RegistryAuth::Anonymous, RegistryOperation::Push).await?;
        try_join_all(rest.iter().map(|file| push(&client, &image, Path::new(file)))).await?;
    } else {
        let (directory, digests) = rest.split_first().ok_or("a directory")?;
        client.auth(&image, &RegistryAuth::Anonymous, RegistryOperation::Pull).await?;
        try_join_all(digests.iter().map(|hex| pull(&client, &image, Path::new(directory), hex))).await?;
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let memory = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    println!("{verb} {:.2} s, {memory}", started.elapsed().as_secs_f64());
    Ok(())
}

async fn push(client: &Client, image: &Reference, file: &Path) -> Result<(), Failure> {
    let digest = format!("sha256:{}", file.file_name().and_then(|name| name.to_str()).unwrap_or_default());
    let open = File::open(file).await?;
    let size = open.metadata().await?.len();
    let stream = ReaderStream::with_capacity(open, 256 << 10).map_err(OciDistributionError::from).boxed();
    client.push_blob_stream(image, stream, &digest, Some(size)).await?;
    Ok(())
}

async fn pull(client: &Client, image: &Reference, directory: &Path, hex: &str) -> Result<(), Failure> {
    let file = File::create(directory.join(hex)).await?;
    let layer = OciDescriptor { digest: format!("sha256:{hex}"), ..OciDescriptor::default() };
    client.pull_blob(image, &layer, file).await?;
    Ok(())
}
