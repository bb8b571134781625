//! Builds every policy that only tests use to a component.

fn main() {
    countersign_component::build_policies(&[
        "cookbook/approved-parents",
        "cookbook/break-glass",
        "cookbook/emergency-stop",
        "cookbook/team-standard-rust",
        "guest-policies/scripted",
    ]);
}
