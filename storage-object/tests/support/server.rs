//! A server that speaks the protocol of S3, for as long as a test needs it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// The server and its version. It is installed once, with pip, into the folder for files of tests.
const SERVER: &str = "moto[server]==5.2.5";

/// A running server. It ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    process: Child,
    pub endpoint: String,
}

impl Server {
    /// Starts a server with an empty bucket. `None`, and a note on the standard error, if it cannot be installed.
    pub fn start(bucket: &str) -> Option<Self> {
        let started = install().and_then(|program| Self::run(&program, bucket));
        // Written past the capture of test output: a test that did not run must not look like one that passed.
        started.map_err(|error| writeln!(io::stderr(), "\nSKIPPED: no S3 server ({SERVER}): {error}\n")).ok()
    }

    fn run(program: &PathBuf, bucket: &str) -> io::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut process = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let log = process.stderr.take();
        let server = Self { process, endpoint: format!("http://127.0.0.1:{port}") };
        let mut lines = log.into_iter().flat_map(|log| BufReader::new(log).lines());
        let is_up = lines.by_ref().map_while(Result::ok).any(|line| line.contains("Running on"));
        if !is_up {
            return Err(io::Error::other("it has ended at once"));
        }
        // It blocks once the pipe is full.
        std::thread::spawn(move || lines.for_each(drop));
        let mut connection = TcpStream::connect(("127.0.0.1", port))?;
        write!(
            connection,
            "PUT /{bucket} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        match answer.lines().next() {
            Some(status) if status.contains(" 200 ") => Ok(server),
            status => Err(io::Error::other(format!("no bucket: {status:?}"))),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error says that it has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The program of the server.
fn install() -> io::Result<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("moto-5.2.5");
    let program = folder.join("bin/moto_server");
    let is_whole = folder.join("installed");
    if !is_whole.exists() {
        let run = |program: PathBuf, arguments: &[&str]| {
            let output = Command::new(&program).args(arguments).output()?;
            if output.status.success() {
                return Ok(());
            }
            let reason = String::from_utf8_lossy(&output.stderr).into_owned();
            Err(io::Error::other(format!("{}: {reason}", program.display())))
        };
        run("python3".into(), &["-m", "venv", "--clear", &folder.to_string_lossy()])?;
        run(folder.join("bin/pip"), &["install", "--quiet", "--disable-pip-version-check", SERVER])?;
        std::fs::write(is_whole, "")?;
    }
    Ok(program)
}
