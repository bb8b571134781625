//! The descriptors of the process: each copy of a policy has a memory file, each connection a socket, and the log its
//! segments.

use countersign_http::max_sockets;
use countersign_issuer::ServiceConfig;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The descriptors that are kept for files, policies that are loaded later, and the state.
const RESERVED: u64 = 256;

/// Raises the limit on descriptors as far as the process may.
pub(super) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum || limit.maximum.is_none() {
        // A limit that cannot be raised is not an error; it may be high enough.
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit { current: limit.maximum.or(Some(1 << 20)), maximum: limit.maximum },
        );
    }
}

/// Lowers the maximum of connections to those that the limit leaves room for. Without it, connections that nobody needs
/// would take the descriptors of the decision log, which fails for good when it cannot open a segment.
pub(super) fn leave_room(config: &mut ServiceConfig) {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return };
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, |open| open.count() as u64);
    let room = limit.saturating_sub(open + RESERVED).max(1);
    if max_sockets(config.max_connections) as u64 <= room {
        return;
    }
    // Each two may have a third socket beside them.
    let room = (room - room.div_ceil(3)).max(1);
    tracing::warn!(
        limit,
        configured = config.max_connections,
        connections = room,
        "the limit on open files leaves room for fewer than `limits.connections`; raise it (`ulimit -n`)"
    );
    config.max_connections = usize::try_from(room).unwrap_or(usize::MAX);
}
