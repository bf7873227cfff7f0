//! A small HTTP/1.1 client, so that tests see the bytes on the wire.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::Value;

/// A connection that is kept alive.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<UnixStream>,
    request: Vec<u8>,
}

#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// Returns a header's value; `name` is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in {}", self.text()))
    }

    /// Panics unless the status is the expected one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }
}

impl Connection {
    pub fn open(socket: &Path) -> io::Result<Self> {
        Ok(Self { stream: BufReader::with_capacity(64 << 10, UnixStream::connect(socket)?), request: Vec::new() })
    }

    /// Sends a request and reads the whole answer.
    pub fn call(&mut self, method: &str, path: &str, body: &[u8]) -> io::Result<Response> {
        self.send(method, path, body)?;
        let (status, headers) = self.head()?;
        let mut response = Response { status, headers, body: Vec::new() };
        if response.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
            while let Some(chunk) = self.chunk()? {
                response.body.extend_from_slice(&chunk);
            }
        } else if let Some(length) = response.header("content-length") {
            let length = length.parse().map_err(io::Error::other)?;
            response.body.resize(length, 0);
            self.stream.read_exact(&mut response.body)?;
        }
        Ok(response)
    }

    pub fn send(&mut self, method: &str, path: &str, body: &[u8]) -> io::Result<()> {
        self.request.clear();
        write!(self.request, "{method} {path} HTTP/1.1\r\nhost: localhost\r\n")?;
        if body.starts_with(b"--") {
            write!(self.request, "content-type: multipart/form-data; boundary={BOUNDARY}\r\n")?;
        } else if !body.is_empty() {
            self.request.extend_from_slice(b"content-type: application/json\r\n");
        }
        write!(self.request, "content-length: {}\r\n\r\n", body.len())?;
        self.request.extend_from_slice(body);
        self.stream.get_mut().write_all(&self.request)
    }

    /// Reads the status and the headers, with names in lower case.
    pub fn head(&mut self) -> io::Result<(u16, Vec<(String, String)>)> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|s| s.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("not a status line: {first:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok((status, headers));
            }
            let (name, value) = line.split_once(':').ok_or_else(|| io::Error::other(line.clone()))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// Reads the next chunk of a chunked body; returns None at its end.
    pub fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = self.line()?;
        let size = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16);
        let size = size.map_err(|e| io::Error::other(format!("{e} in the chunk size {line:?}")))?;
        let mut chunk = vec![0; size];
        self.stream.read_exact(&mut chunk)?;
        self.line()?;
        Ok((size > 0).then_some(chunk))
    }

    /// Returns the socket, so that another thread can end the connection.
    pub fn socket(&self) -> io::Result<UnixStream> {
        self.stream.get_ref().try_clone()
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        if self.stream.read_until(b'\n', &mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while matches!(line.last(), Some(b'\r' | b'\n')) {
            line.pop();
        }
        String::from_utf8(line).map_err(io::Error::other)
    }
}

/// The API of a host that may be restarted meanwhile.
#[derive(Debug)]
pub struct Api {
    socket: PathBuf,
    connection: Mutex<Option<Connection>>,
}

impl Api {
    pub fn new(socket: PathBuf) -> Self {
        Self { socket, connection: Mutex::new(None) }
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Sends one request; after an error the next request gets a new connection.
    pub fn try_call(&self, method: &str, path: &str, body: &[u8]) -> io::Result<Response> {
        let mut kept = self.connection.lock().unwrap();
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => Connection::open(&self.socket)?,
        };
        let response = connection.call(method, path, body)?;
        *kept = Some(connection);
        Ok(response)
    }

    #[track_caller]
    fn call(&self, method: &str, path: &str, body: &[u8]) -> Response {
        // The kept connection may be older than a restart.
        self.try_call(method, path, body)
            .or_else(|_| self.try_call(method, path, body))
            .unwrap_or_else(|e| panic!("{method} {path}: {e}"))
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        self.call("GET", path, b"")
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Response {
        self.call("POST", path, body.to_string().as_bytes())
    }

    /// Posts a message with files: their names and contents.
    #[track_caller]
    pub fn post_form(&self, jid: &str, message: &Value, files: &[(&str, &[u8])]) -> Response {
        self.call("POST", &messages_path(jid), &form(message, files))
    }

    #[track_caller]
    pub fn patch(&self, path: &str, body: &Value) -> Response {
        self.call("PATCH", path, body.to_string().as_bytes())
    }

    #[track_caller]
    pub fn delete(&self, path: &str) -> Response {
        self.call("DELETE", path, b"")
    }
}

/// The boundary between the parts of a form.
const BOUNDARY: &str = "parlor-test-form";

/// Encodes a message with files as a form.
pub fn form(message: &Value, files: &[(&str, &[u8])]) -> Vec<u8> {
    let head = |name: &str| format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name={name}\r\n\r\n");
    let mut body = format!("{}{message}\r\n", head("\"message\"")).into_bytes();
    for (name, bytes) in files {
        body.extend(head(&format!("\"file\"; filename=\"{name}\"")).bytes());
        body.extend_from_slice(bytes);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{BOUNDARY}--\r\n").bytes());
    body
}

/// Returns the path of a chat's messages.
pub fn messages_path(jid: &str) -> String {
    format!("/v1/chats/{jid}/messages")
}
