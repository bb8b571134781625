//! The gate in front of a foreign issuer's token endpoint.

use std::sync::Arc;
use std::time::Duration;

use countersign_ext_authz::serve;
use countersign_issuer::Service;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The time that checks have to finish when the service stops.
const STOP: Duration = Duration::from_secs(5);

/// A gate that serves.
pub(super) struct Gate {
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Gate {
    /// Begins to serve. Must be called within a runtime.
    pub(super) fn begin(service: &Arc<Service>, listener: TcpListener) -> Self {
        let (stop, stopped) = oneshot::channel();
        let service = Arc::clone(service);
        let served = tokio::spawn(async move {
            // Also where nobody is left to say so.
            let stopped = async { drop(stopped.await) };
            if let Err(error) = serve(service, listener, stopped).await {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "ext_authz has ended");
            }
        });
        Self { stop, served }
    }

    /// Answers the checks that have begun, and stops.
    pub(super) async fn stop(self) {
        let Self { stop, mut served } = self;
        let _ = stop.send(());
        if tokio::time::timeout(STOP, &mut served).await.is_err() {
            served.abort();
        }
    }
}
