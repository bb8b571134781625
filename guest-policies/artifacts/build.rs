//! Builds every policy that people would deploy to a component.

fn main() {
    countersign_component::build_policies(&[
        "guest-policies/allowed-consumers",
        "guest-policies/audience-per-implementation",
        "guest-policies/change-window",
        "guest-policies/same-workspace",
        "guest-policies/trigger-gate",
        "guest-policies/ttl-ceiling",
    ]);
}
