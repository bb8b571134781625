//! The signer of a cluster's tokens, which begins before everything else and ends after it cannot decide any more.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use countersign_deployment::{Loader, Snapshot, cluster_signer};
use countersign_issuer::{ClusterSigner, Service};
use countersign_kubernetes_signer::{Socket, SocketConfig, serve};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The time that requests have to finish when the service stops. The API server closes its connection when it is told to.
const STOP: Duration = Duration::from_secs(5);

/// The signer, which serves.
pub(super) struct KubernetesSigner {
    signer: Arc<ClusterSigner>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl KubernetesSigner {
    /// Begins to serve, where the configuration has a signer. Policies, store and log may follow, or never come.
    pub(super) fn begin(
        runtime: &Runtime,
        loader: &Loader,
        snapshot: &Snapshot,
    ) -> Result<Option<Self>> {
        let Some(entry) = &loader.config().kubernetes_signer else { return Ok(None) };
        let config = SocketConfig {
            path: loader.path(&entry.socket),
            mode: entry.socket_mode,
            group: entry.socket_group,
            uids: entry.socket_uids.clone(),
        };
        let _entered = runtime.enter();
        // First: a second process must not touch the keys of one that serves.
        let socket = Socket::open(config).context("kubernetes-signer.socket")?;
        let parts = cluster_signer(loader, snapshot)?;
        let Some(parts) = parts else { return Ok(None) };
        let signer = ClusterSigner::start(parts).context("kubernetes-signer")?;
        let path = socket.path().display().to_string();
        let mode = if signer.enforces() { "enforce" } else { "shadow" };
        tracing::info!(socket = path, mode, "signing tokens of service accounts");
        let (stop, stopped) = oneshot::channel();
        let of_server = Arc::clone(&signer);
        let served = runtime.spawn(async move {
            // Also where nobody is left to say so.
            let stopped = async { drop(stopped.await) };
            if let Err(error) = serve(of_server, socket, stopped).await {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "the Kubernetes signer has ended");
            }
        });
        Ok(Some(Self { signer, stop, served }))
    }

    /// Lets the service decide from now on.
    pub(super) fn attach(&self, service: &Arc<Service>) -> Result<()> {
        self.signer.attach(Arc::clone(service)).context("kubernetes-signer")
    }

    /// Answers the requests that have begun, and stops.
    pub(super) async fn stop(self) {
        let Self { stop, mut served, .. } = self;
        let _ = stop.send(());
        if tokio::time::timeout(STOP, &mut served).await.is_err() {
            served.abort();
        }
    }
}
