//! The check of trust before tokens change.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use countersign::{Audience, SubjectParts};
use countersign_clouds::Cloud;
use countersign_deployment::{DefinitionArgument, Installation, MigrationStep, SubjectMigration};
use countersign_signing::Algorithm;
use countersign_trust::{Admission, TokenClaims, TrustFiles};

use crate::check::preflight_of;

/// Checks that trust admits the future subject wherever it admits the current one, and that the cloud accepts such
/// a token. Returns the clouds that were checked.
pub(super) fn check_admission(
    installation: &Installation,
    trust: &TrustFiles,
    of: &DefinitionArgument,
    migration: &SubjectMigration,
    step: MigrationStep,
    audiences: &[Audience],
    given: Option<&Audience>,
) -> Result<Vec<&'static str>> {
    let (clouds, definition) = (trust.clouds(), &of.definition);
    let cloud_of = |audience: &Audience| installation.entry.audiences.of(audience.as_str());
    for audience in audiences {
        let cloud = cloud_of(audience);
        if cloud.is_none_or(|cloud| cloud != Cloud::Other && !clouds.contains(&cloud)) {
            bail!(
                "definition {definition}: its runs have tokens for `{audience}`, which the trust that was given does not cover"
            );
        }
    }
    let is_new = |parts: &&SubjectParts| matches!(parts, SubjectParts::ByDefinition { .. });
    let subjects = migration.subjects(&installation.subjects.meshstack_id, definition);
    let (new, old): (Vec<_>, Vec<_>) = subjects.iter().partition(is_new);
    let (to_be, before) = if step == MigrationStep::CutOver { (new, old) } else { (old, new) };
    // Every audience of its runs, and the given one; the usual one if there is neither.
    let mut checked = Vec::new();
    for cloud in &clouds {
        let of_cloud = audiences.iter().filter(|audience| cloud_of(audience) == Some(*cloud));
        let mut of_cloud: BTreeSet<_> = of_cloud.cloned().collect();
        of_cloud.extend(given.cloned());
        if of_cloud.is_empty() {
            of_cloud.insert(installation.audience_or(None, *cloud)?);
        }
        checked.extend(of_cloud.into_iter().map(|audience| (*cloud, audience)));
    }
    let issuer = installation.url.as_str();
    for &(cloud, ref audience) in &checked {
        for parts in &to_be {
            let subject = parts.subject()?.as_str().to_owned();
            would_be_taken(installation, cloud, &subject, audience)
                .with_context(|| format!("definition {definition}: nothing was changed"))?;
            let token = TokenClaims { issuer, subject: &subject, audience: audience.as_str() };
            let remedy =
                format!("nothing was changed. `countersign trust {cloud}` writes trust that does");
            match trust.admits(cloud, token) {
                Admission::Admitted => {}
                Admission::NotAdmitted => bail!(
                    "definition {definition}: the trust of {cloud} does not admit `{subject}` for \
                     `{audience}`{}; {remedy}",
                    reasons(trust, cloud, token)
                ),
                Admission::Unknown => bail!(
                    "definition {definition}: the trust of {cloud} may not admit `{subject}` for \
                     `{audience}`, as far as its files say{}; {remedy}",
                    reasons(trust, cloud, token)
                ),
            }
            for parts in &before {
                let subject = parts.subject()?;
                let now = TokenClaims { subject: subject.as_str(), ..token };
                if let Some(owner) = trust.granted_only_to(cloud, now, token).first() {
                    bail!(
                        "definition {definition}: `{owner}` admits `{subject}`, but not `{}`; {remedy}",
                        token.subject
                    );
                }
            }
        }
    }
    Ok(clouds.into_iter().map(Cloud::as_str).collect())
}

/// The reasons for which trust is not known to admit a token.
fn reasons(trust: &TrustFiles, cloud: Cloud, token: TokenClaims<'_>) -> String {
    const SHOWN: usize = 5;
    let reasons = trust.reasons(cloud, token).into_iter().take(SHOWN);
    reasons.map(|reason| format!("\n  {}", countersign::visible(&reason))).collect()
}

/// Checks that the issuer itself would sign a token with this subject.
fn would_be_taken(
    installation: &Installation,
    cloud: Cloud,
    subject: &str,
    audience: &Audience,
) -> Result<()> {
    let violations = preflight_of(installation, Algorithm::Rs256, subject, audience, 3600)?;
    match violations.first() {
        None => Ok(()),
        Some(violation) => {
            bail!("{cloud} does not accept such a token: {}: {}", violation.code, violation.message)
        }
    }
}
