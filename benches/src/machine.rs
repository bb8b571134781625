//! The machine and the versions that figures are of.

/// The processors of this machine: their number, name and model, since one name stands for several models.
#[must_use]
pub fn processors() -> String {
    let number = std::thread::available_parallelism().map_or(1, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let mut lines = info.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.trim_end() == name).map(|(_, value)| value.trim())
    };
    let name = field("model name").unwrap_or(std::env::consts::ARCH);
    match (field("cpu family"), field("model")) {
        (Some(family), Some(model)) => {
            format!("{number} × {name} (family {family}, model {model})")
        }
        _ => format!("{number} × {name}"),
    }
}

/// The machine and the versions of the figures, as a line of Markdown.
#[must_use]
pub fn machine() -> String {
    let lock = include_str!("../../Cargo.lock");
    let (_, wasmtime) = lock.split_once("name = \"wasmtime\"\nversion = \"").unwrap_or_default();
    let wasmtime = wasmtime.split('"').next().unwrap_or_default();
    format!("{}, {}, Wasmtime {wasmtime}.", processors(), std::env::consts::OS)
}

/// The version line of the installed compiler.
#[must_use]
pub fn compiler() -> String {
    let output = std::process::Command::new("rustc").arg("--version").output();
    output.map_or(String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
