//! A service whose keys are in a device: whatever the device does wrong, those who ask learn by a code, and get no token.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

#[path = "../../custody/tests/support/mod.rs"]
mod device;
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_custody::ExternalConfig;
use countersign_issuer::{CustodyFailure, KeyCustody};
use device::{FakeDevice, Manner};
use support::{AWS, AZURE, RUN, Running, SHARED_RUNNER, Setup, answer, folder, run};

/// Probes that find a failure by a request alone, and a recovery at once.
const BOUNDS: ExternalConfig = ExternalConfig {
    max_in_flight: 8,
    parallel: 2,
    probe_every: Duration::from_secs(86_400),
    retry_every: Duration::from_millis(20),
};

async fn metrics(service: &Running) -> String {
    let metrics = service.client.get(service.url("/metrics")).bearer_auth(&service.api_key);
    metrics.send().await.unwrap().text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_lies_gives_no_token_and_is_not_ready() {
    let folder = folder();
    let device = FakeDevice::new();
    let custody: Arc<dyn KeyCustody> = Arc::new(device::custody(&device, BOUNDS));
    let config = format!(
        "[tokens]\nes256-audiences = [\"{AWS}\"]\n[limits]\nrun-per-second = 1_000\nrun-burst = 1_000\n"
    );
    let setup = Setup { config, custody: Some(custody), ..Setup::default() };
    let service = Running::with(folder.path(), setup).await;
    service.register(&run(), SHARED_RUNNER).await;
    let slow = Manner::Fails(CustodyFailure::Slow);
    for audience in [AWS, AZURE] {
        for (manner, code) in [
            (Manner::OtherKey, "custody-wrong-signature"),
            (Manner::OtherBytes, "custody-wrong-signature"),
            (Manner::Cut, "custody-wrong-signature"),
            (Manner::Garbage, "custody-wrong-signature"),
            (slow, "custody-slow"),
            (Manner::Fails(CustodyFailure::Unreachable), "custody-unreachable"),
        ] {
            let (status, body) = answer(service.by_run_token(RUN, audience).await).await;
            assert_eq!(status, 200, "{body}");
            service.verified(body["access_token"].as_str().unwrap(), audience).await;

            device.behave(manner);
            let (status, body) = answer(service.by_run_token(RUN, audience).await).await;
            assert_eq!(status.as_u16(), 503, "{manner:?}: {body}");
            assert!(body.get("access_token").is_none());
            let ready = service.get("/readyz").await;
            assert_eq!(ready.status(), 503, "{manner:?}");
            let said = ready.text().await.unwrap();
            assert!(said.contains(code), "{manner:?}: {said}");
            let text = metrics(&service).await;
            let problem = format!("countersign_custody_problem{{code=\"{code}\"}} 1");
            assert!(text.lines().any(|line| line == problem), "{text}");
            // Verifiers still get the keys.
            assert_eq!(service.get("/jwks.json").await.status(), 200);

            device.behave(Manner::Honest);
            let began = Instant::now();
            while service.get("/readyz").await.status() != 200 {
                assert!(
                    began.elapsed() < Duration::from_secs(60),
                    "{manner:?}: it is not ready again"
                );
                tokio::task::yield_now().await;
            }
        }
    }
    let text = metrics(&service).await;
    assert!(!text.contains("countersign_custody_problem{code=\"custody-slow\"} 1"), "{text}");
    service.stop().await;
}
