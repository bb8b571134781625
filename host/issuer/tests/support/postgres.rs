//! A PostgreSQL server of a test's own on loopback, by a user that is not root, which stops with the test.
//!
//! `.ci/postgres` installs what this needs: PostgreSQL 15 or newer, pgbouncer and util-linux, as Debian has them.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// `nobody`, on every Debian.
const USER: u32 = 65534;

pub(crate) const ROLE: &str = "countersign";
pub(crate) const PASSWORD: &str = "a-password-of-a-test";

/// A server with a database `countersign` of the role `countersign`, and its data, which stay when it stops.
pub(crate) struct Server {
    folder: TempDir,
    pub(crate) port: u16,
    process: Option<Child>,
}

/// pgbouncer in transaction mode before a server.
pub(crate) struct Pooler {
    _folder: TempDir,
    pub(crate) port: u16,
    process: Child,
}

/// The folder of PostgreSQL's programs.
fn programs() -> PathBuf {
    if let Some(folder) = std::env::var_os("COUNTERSIGN_POSTGRES") {
        return folder.into();
    }
    let installed = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL: run `.ci/postgres`");
    let mut versions: Vec<_> = installed.map(|entry| entry.unwrap().path()).collect();
    versions.sort();
    versions.pop().expect("PostgreSQL: run `.ci/postgres`").join("bin")
}

/// A command as a user that is not root, which ends when the test does.
fn command(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    // SIGQUIT: PostgreSQL stops at once and leaves nothing running, pgbouncer too.
    command.args(["--pdeathsig", "QUIT"]);
    if is_root() {
        let user = USER.to_string();
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]);
    }
    command.arg("--").arg(program);
    command.env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    String::from_utf8(id.stdout).unwrap().trim() == "0"
}

/// A folder that the user of the server can use.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    if is_root() {
        std::os::unix::fs::chown(folder.path(), Some(USER), Some(USER)).unwrap();
    }
    folder
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    if is_root() {
        std::os::unix::fs::chown(path, Some(USER), Some(USER)).unwrap();
    }
}

fn succeed(command: &mut Command) -> Output {
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

impl Server {
    /// Starts a new one.
    pub(crate) fn start() -> Self {
        let folder = folder();
        let data = folder.path().join("data");
        succeed(command(&programs().join("initdb")).arg("-D").arg(&data).args([
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
        ]));
        let mut server = Self { folder, port: free_port(), process: None };
        server.run();
        server.sql("postgres", &format!("CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'"));
        server.sql("postgres", &format!("CREATE DATABASE countersign OWNER {ROLE}"));
        server
    }

    /// A hot standby of this server, which follows it, synchronously where the primary is told so.
    pub(crate) fn standby(&self) -> Self {
        let folder = folder();
        let data = folder.path().join("data");
        let port = self.port.to_string();
        succeed(
            command(&programs().join("pg_basebackup"))
                .arg("-D")
                .arg(&data)
                .args(["-h"])
                .arg(self.folder.path())
                .args(["-p", &port, "-U", "postgres", "-R", "-X", "stream", "-c", "fast"]),
        );
        let mut standby = Self { folder, port: free_port(), process: None };
        standby.run();
        standby
    }

    /// Has commits wait for the standby.
    pub(crate) fn wait_for_standby(&self) {
        self.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'");
        self.sql("postgres", "SELECT pg_reload_conf()");
        let started = Instant::now();
        while self.sql("postgres", "SELECT sync_state FROM pg_stat_replication") != "sync" {
            assert!(started.elapsed() < Duration::from_secs(60), "no synchronous standby");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Makes a standby the primary.
    pub(crate) fn promote(&self) {
        self.sql("postgres", "SELECT pg_promote()");
    }

    /// Starts the server on its data, and waits until it answers.
    pub(crate) fn run(&mut self) {
        assert!(self.process.is_none());
        let (data, socket) = (self.folder.path().join("data"), self.folder.path());
        // Small, since tests have several of them; and as durable as the default.
        let mut postgres = command(&programs().join("postgres"));
        postgres.arg("-D").arg(&data).args(["-p", &self.port.to_string(), "-c"]);
        postgres.arg("listen_addresses=127.0.0.1").arg("-c");
        postgres.arg(format!("unix_socket_directories={}", socket.display()));
        for setting in ["shared_buffers=32MB", "max_connections=100", "max_wal_size=256MB"] {
            postgres.args(["-c", setting]);
        }
        let log = fs::File::create(socket.join("log")).unwrap();
        self.process = Some(postgres.stderr(log).spawn().unwrap());
        let started = Instant::now();
        while !self.query("postgres", "SELECT 1").status.success() {
            assert!(started.elapsed() < Duration::from_secs(60), "{}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Stops it at once, as a crash does: nothing is written any more.
    pub(crate) fn crash(&mut self) {
        let mut process = self.process.take().unwrap();
        signal(&process, "QUIT");
        process.wait().unwrap();
    }

    /// Has the server speak TLS, with a certificate for 127.0.0.1 that nobody else has signed. Gives its file.
    pub(crate) fn speak_tls(&self) -> PathBuf {
        let (certificate, key) =
            (self.folder.path().join("tls.pem"), self.folder.path().join("tls.key"));
        let mut openssl = command(Path::new("/usr/bin/openssl"));
        openssl.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ]);
        openssl.args([
            "-days",
            "2",
            "-subj",
            "/CN=a test",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ]);
        openssl.args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"]).arg(&key);
        succeed(openssl.arg("-out").arg(&certificate));
        for (setting, file) in [("ssl_cert_file", &certificate), ("ssl_key_file", &key)] {
            let file = file.display();
            self.sql("postgres", &format!("ALTER SYSTEM SET {setting} = '{file}'"));
        }
        self.switch_tls(true);
        certificate
    }

    pub(crate) fn switch_tls(&self, on: bool) {
        self.sql("postgres", &format!("ALTER SYSTEM SET ssl = {on}"));
        self.sql("postgres", "SELECT pg_reload_conf()");
        let wanted = if on { "on" } else { "off" };
        let began = Instant::now();
        while self.sql("postgres", "SHOW ssl") != wanted {
            assert!(began.elapsed() < Duration::from_secs(60), "{}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Puts the used tokens of the database on a disk of a few megabytes, and fills it.
    pub(crate) fn fill_disk(&self) {
        let place = self.folder.path().join("small");
        fs::create_dir(&place).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size=2M,uid={USER},gid={USER}"), "tmpfs"])
            .arg(&place)
            .status();
        let is_mounted = mounted.is_ok_and(|status| status.success());
        assert!(is_mounted, "expected a user that may mount a small disk, such as root");
        self.sql("countersign", &format!("CREATE TABLESPACE small LOCATION '{}'", place.display()));
        self.sql("countersign", "ALTER TABLE countersign.used_token SET TABLESPACE small");
        let one = "INSERT INTO countersign.used_token SELECT sha256(random()::text::bytea), 1 \
                   FROM generate_series(1, 100)";
        while self.query("countersign", one).status.success() {}
    }

    /// The ids of its processes.
    pub(crate) fn processes(&self) -> Vec<String> {
        let id = self.process.as_ref().unwrap().id().to_string();
        let children = Command::new("pgrep").args(["-P", &id]).output().unwrap();
        let children = String::from_utf8(children.stdout).unwrap();
        std::iter::once(id).chain(children.split_whitespace().map(str::to_owned)).collect()
    }

    /// Stops all of its processes where they are, or has them go on: it is there, and does not answer.
    pub(crate) fn freeze(&self, frozen: bool) {
        let word = if frozen { "-STOP" } else { "-CONT" };
        // Of this server alone.
        let mut kill = Command::new("kill");
        kill.arg(word).args(self.processes()).stderr(Stdio::null()).status().unwrap();
    }

    /// Executes statements as the superuser of the server, and returns what they print.
    pub(crate) fn sql(&self, database: &str, statements: &str) -> String {
        let output = self.query(database, statements);
        assert!(output.status.success(), "{statements}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn query(&self, database: &str, statements: &str) -> Output {
        let port = self.port.to_string();
        Command::new(programs().join("psql"))
            .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h"])
            .arg(self.folder.path())
            .args(["-p", &port, "-d", database, "-c", statements])
            .output()
            .unwrap()
    }

    /// Copies the database, as `pg_dump` does for a backup.
    pub(crate) fn dump(&self) -> String {
        let port = self.port.to_string();
        let mut dump = Command::new(programs().join("pg_dump"));
        dump.args(["-U", "postgres", "-h"]).arg(self.folder.path()).args(["-p", &port]);
        let output = succeed(dump.args(["--clean", "--if-exists", "countersign"]));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Puts a copy in the place of the database.
    pub(crate) fn restore(&self, dump: &str) {
        let file = self.folder.path().join("dump.sql");
        fs::write(&file, dump).unwrap();
        let port = self.port.to_string();
        let mut psql = Command::new(programs().join("psql"));
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h"])
            .arg(self.folder.path())
            .args(["-p", &port, "-d", "countersign", "-f"]);
        succeed(psql.arg(&file));
    }

    pub(crate) fn url(&self) -> String {
        url(self.port)
    }

    /// A new database `countersign` in the place of the one before.
    pub(crate) fn reset(&self) {
        self.sql("postgres", "DROP DATABASE countersign WITH (FORCE)");
        self.sql("postgres", &format!("CREATE DATABASE countersign OWNER {ROLE}"));
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let small = self.folder.path().join("small");
        if small.exists() {
            // Also while it is in use; it is gone with its last user.
            let _ = Command::new("umount").arg("--lazy").arg(small).stderr(Stdio::null()).status();
        }
        if let Some(mut process) = self.process.take() {
            self.process = None;
            signal(&process, "CONT");
            signal(&process, "QUIT");
            let _ = process.wait();
        }
    }
}

impl Pooler {
    /// Starts one before a server, with `max` connections to it, which all clients share.
    pub(crate) fn start(server: u16, max: usize) -> Self {
        let (folder, port) = (folder(), free_port());
        let users = folder.path().join("users");
        write(&users, &format!("\"{ROLE}\" \"{PASSWORD}\"\n"));
        let config = format!(
            "[databases]\ncountersign = host=127.0.0.1 port={server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nauth_type = scram-sha-256\nauth_file = {}\npool_mode = transaction\n\
             default_pool_size = {max}\nmax_client_conn = 500\nunix_socket_dir =\nserver_round_robin = 1\n\
             server_login_retry = 1\nlogfile = {}\n",
            users.display(),
            folder.path().join("log").display(),
        );
        let file = folder.path().join("pgbouncer.ini");
        write(&file, &config);
        let process =
            command(Path::new("/usr/sbin/pgbouncer")).arg("-q").arg(&file).spawn().unwrap();
        let started = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(60), "pgbouncer does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        Self { _folder: folder, port, process }
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The database on loopback, behind whatever listens at a port.
pub(crate) fn url(port: u16) -> String {
    format!("postgres://{ROLE}@127.0.0.1:{port}/countersign?sslmode=disable")
}

/// Signals a process by its id.
fn signal(process: &Child, name: &str) {
    let kill = Command::new("kill").arg(format!("-{name}")).arg(process.id().to_string()).status();
    // It may be gone.
    let _ = kill;
}
