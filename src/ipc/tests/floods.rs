//! One group's flood does not delay other groups.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// Only one of these tests at a time, because floods would disturb each other's measurements.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Returns the time from the rename to the commit of one message of `b`.
async fn latency(host: &Host, text: &str) -> Duration {
    let temporary = host.ipc("b", "messages").join("t.tmp");
    fs::write(&temporary, message("web:b", text).to_string()).unwrap();
    let started = Instant::now();
    fs::rename(temporary, host.ipc("b", "messages").join("1.json")).unwrap();
    loop {
        let wanted = text.to_owned();
        let found = host
            .store
            .read(move |db| {
                let mut s = db.prepare_cached("SELECT 1 FROM outbox WHERE jid = 'web:b' AND text = ?1")?;
                Ok(s.exists([wanted])?)
            })
            .await
            .unwrap();
        if found {
            return started.elapsed();
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{text} never came");
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
}

/// The samples of one round.
const SAMPLES: usize = 20;
/// Other work on the machine slows only some rounds; a flood that delays other groups slows every round.
const ROUNDS: usize = 3;
/// Below a few milliseconds, the scheduler decides.
const FLOOR: Duration = Duration::from_millis(15);

/// A second host without a flood. Its messages are measured in turn with those of the flooded host, so that other
/// work on the machine and its disk delays both.
struct Quiet {
    host: Host,
    served: Served,
}

impl Quiet {
    async fn start() -> Self {
        let host = host().await;
        let served = host.serve();
        served.open(&group("b"), run()).await.unwrap();
        Self { host, served }
    }

    /// Returns true if the group `b` of the flooded host waits about as long as the one here.
    async fn is_matched_by(&self, flooded: &Host, tag: &str) -> bool {
        let (mut quiet, mut loud) = (Vec::new(), Vec::new());
        for i in 0..SAMPLES {
            let text = format!("{tag} {i}");
            quiet.push(latency(&self.host, &text).await);
            loud.push(latency(flooded, &text).await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        quiet.sort();
        loud.sort();
        let part = |all: &[Duration], tenths: usize| all[all.len() * tenths / 10];
        println!("{tag}: quiet {quiet:?}, in the flood {loud:?}");
        // One burst of the flood may be before one message, but not before most of them.
        part(&loud, 5) <= (part(&quiet, 5) * 3).max(FLOOR)
            && part(&loud, 9) <= (part(&quiet, 9) * 3).max(Duration::from_millis(500))
    }

    async fn matched_in_some_round(&self, flooded: &Host, tag: &str) -> bool {
        for round in 0..ROUNDS {
            if self.is_matched_by(flooded, &format!("{tag} {round}")).await {
                return true;
            }
        }
        false
    }
}

/// More files than are handled during a test.
const HEAP: usize = 20_000;

#[tokio::test(flavor = "multi_thread")]
async fn heap_of_files_does_not_delay_other_groups() {
    let _alone = ALONE.lock().await;
    let quiet = Quiet::start().await;
    let host = host().await;
    let served = host.serve();
    fs::create_dir_all(host.ipc("a", "messages")).unwrap();
    for i in 0..HEAP {
        // Empty files are the cheapest to make and cost the host as much as others.
        fs::File::create(host.ipc("a", "messages").join(format!("{i:06}.json"))).unwrap();
    }
    served.open(&group("b"), run()).await.unwrap();
    served.open(&group("a"), run()).await.unwrap();
    let started = Instant::now();
    let fine = quiet.matched_in_some_round(&host, "heap").await;
    let handled = HEAP - waiting(&host);
    let most = 200.0 * started.elapsed().as_secs_f64() + 300.0;
    assert!(handled > 50 && (handled as f64) < most, "{handled} of at most {most}");
    assert!(fine, "the heap delays others");
    served.stop().await;
    quiet.served.stop().await;
}

/// Returns the number of files of `a` that are not claimed yet.
fn waiting(host: &Host) -> usize {
    fs::read_dir(host.ipc("a", "messages")).unwrap().count()
}

/// A program that adds files to a folder faster than the host claims them.
struct Flood {
    stop: CancellationToken,
    made: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

/// The lead of a flood in files: as many as the host claims in a few seconds.
const AHEAD: u64 = 1_000;

impl Flood {
    fn start(dir: PathBuf) -> Self {
        let (stop, made) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (stop.clone(), made.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.is_cancelled() {
                for _ in 0..100 {
                    let n = count.fetch_add(1, Ordering::Relaxed);
                    let temporary = dir.join("t.tmp");
                    fs::write(&temporary, message("web:a", "flood").to_string()).unwrap();
                    fs::rename(&temporary, dir.join(format!("{n}.json"))).unwrap();
                }
                if count.load(Ordering::Relaxed) > AHEAD {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        });
        Self { stop, made, thread }
    }

    fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    fn end(self) {
        self.stop.cancel();
        self.thread.join().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn steady_flood_does_not_delay_other_groups() {
    let _alone = ALONE.lock().await;
    let quiet = Quiet::start().await;
    let host = host().await;
    let served = host.serve();
    served.open(&group("a"), run()).await.unwrap();
    served.open(&group("b"), run()).await.unwrap();
    let flood = Flood::start(host.ipc("a", "messages"));
    until("the flood to be ahead", || flood.made() > AHEAD && waiting(&host) > 0).await;
    let before = flood.made();
    let fine = quiet.matched_in_some_round(&host, "flood").await;
    // Even on a slow machine, more files came than were claimed.
    assert!(flood.made() > before && waiting(&host) > 0, "{} after {before} files are no flood", flood.made());
    flood.end();
    assert!(fine, "the flood delays others");
    served.stop().await;
    quiet.served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn noisy_folder_is_scanned_and_not_watched() {
    let _alone = ALONE.lock().await;
    let quiet = Quiet::start().await;
    let host = host().await;
    let served = host.serve();
    served.open(&group("a"), run()).await.unwrap();
    served.open(&group("b"), run()).await.unwrap();
    let stop = CancellationToken::new();
    let (stopped, dir) = (stop.clone(), host.ipc("a", "messages"));
    let noise = std::thread::spawn(move || {
        while !stopped.is_cancelled() {
            for name in ["x.tmp", "y.tmp"] {
                fs::write(dir.join(name), "x").unwrap();
            }
        }
    });
    let fine = quiet.matched_in_some_round(&host, "noise").await;
    host.put("a", "messages", "1.json", &message("web:a", "in the noise"));
    // A noisy room is still scanned each second.
    let end = Instant::now() + Duration::from_secs(20);
    while !host.texts().await.contains(&"in the noise".to_string()) {
        assert!(Instant::now() < end, "a noisy room is not looked at");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.cancel();
    noise.join().unwrap();
    assert!(fine, "the noise delays others");
    served.stop().await;
    quiet.served.stop().await;
}

/// The captured log.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// On one thread, so that this test's subscriber gets the workers' log.
#[tokio::test]
async fn flood_is_logged_once_and_refusals_are_counted() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    // Even a slow machine handles these files faster than that.
    let host = Host { rates: Rates { per_second: 2.0, burst: 50.0 }, ..host().await };
    let served = host.serve();
    fs::create_dir_all(host.ipc("a", "messages")).unwrap();
    for i in 0..60 {
        host.put("a", "messages", &format!("{i:03}.json"), &message("web:b\u{1b}[31m\n", "not mine"));
    }
    served.open(&group("a"), run()).await.unwrap();
    until("all to be handled", || names(&host.ipc("a", "messages")).is_empty()).await;
    host.until_no_claims().await;
    assert_eq!(host.refusals().await.len(), 60);
    served.stop().await;
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert_eq!(log.matches("floods").count(), 1, "{log}");
    assert_eq!(log.matches("refused").count(), 10, "{log}");
    assert!(!log.contains('\u{1b}') && log.lines().count() < 20, "{log}");
}
