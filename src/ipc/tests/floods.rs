//! One group's flood is not another's.

use super::*;

/// Floods would measure each other.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// From the rename to the commit, for messages of `b`, one after the other. Sorted.
async fn latencies(host: &Host, count: usize, tag: &str) -> Vec<Duration> {
    let mut all = Vec::new();
    for i in 0..count {
        let text = format!("{tag} {i}");
        let temporary = host.ipc("b", "messages").join("t.tmp");
        fs::write(&temporary, message("web:b", &text).to_string()).unwrap();
        let started = Instant::now();
        fs::rename(temporary, host.ipc("b", "messages").join(format!("{i}.json"))).unwrap();
        loop {
            let wanted = text.clone();
            let found = host
                .store
                .read(move |db| {
                    let mut s = db.prepare_cached("SELECT 1 FROM outbox WHERE jid = 'web:b' AND text = ?1")?;
                    Ok(s.exists([wanted])?)
                })
                .await
                .unwrap();
            if found {
                break;
            }
            assert!(started.elapsed() < Duration::from_secs(10), "{text} never came");
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        all.push(started.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    all.sort();
    all
}

/// Samples of one round.
const SAMPLES: usize = 20;
/// Other work on the machine can only make a round slower; a flood that delays others does so in every one.
const ROUNDS: usize = 3;

fn middle(all: &[Duration]) -> Duration {
    all[all.len() / 2]
}

fn quiet_enough(quiet: &[Duration], loud: &[Duration]) -> bool {
    let ninth = loud[loud.len() * 9 / 10];
    println!("median {:?} quiet, {:?} in the flood; nine of ten within {ninth:?}", middle(quiet), middle(loud));
    // Below a few milliseconds the scheduler of a busy machine decides.
    let limit = (middle(quiet) * 3).max(Duration::from_millis(15));
    middle(loud) <= limit && ninth < Duration::from_millis(500)
}

/// More files than are handled while a test runs.
const HEAP: usize = 20_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_heap_of_files_delays_nobody_else() {
    let _alone = ALONE.lock().await;
    let host = host().await;
    let served = host.serve();
    fs::create_dir_all(host.ipc("a", "messages")).unwrap();
    for i in 0..HEAP {
        // Empty ones are the cheapest to make and cost the host as much as others.
        fs::File::create(host.ipc("a", "messages").join(format!("{i:06}.json"))).unwrap();
    }
    served.open(&group("b"), run()).await.unwrap();
    let quiet = latencies(&host, SAMPLES, "quiet").await;
    served.open(&group("a"), run()).await.unwrap();
    let started = Instant::now();
    let mut fine = false;
    for round in 0..ROUNDS {
        fine = fine || quiet_enough(&quiet, &latencies(&host, SAMPLES, &format!("loud {round}")).await);
    }
    let handled = HEAP - fs::read_dir(host.ipc("a", "messages")).unwrap().count();
    let most = 200.0 * started.elapsed().as_secs_f64() + 300.0;
    assert!(handled > 50 && handled < HEAP && (handled as f64) < most, "{handled} of at most {most}");
    assert!(fine, "the heap delays others");
    served.stop().await;
}

/// Drops some thousand files a second into a folder until it is told to stop; returns how many.
fn flood(dir: PathBuf, stop: CancellationToken) -> std::thread::JoinHandle<u64> {
    std::thread::spawn(move || {
        let mut made = 0_u64;
        while !stop.is_cancelled() {
            for _ in 0..100 {
                made += 1;
                let temporary = dir.join("t.tmp");
                fs::write(&temporary, message("web:a", "flood").to_string()).unwrap();
                fs::rename(&temporary, dir.join(format!("{made}.json"))).unwrap();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        made
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_steady_flood_delays_nobody_else() {
    let _alone = ALONE.lock().await;
    let host = host().await;
    let served = host.serve();
    served.open(&group("a"), run()).await.unwrap();
    served.open(&group("b"), run()).await.unwrap();
    // The disk is everyone's: the same flood where nobody reads it is what it is measured against.
    let elsewhere = host.root.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let mut fine = false;
    for round in 0..ROUNDS {
        let stop = CancellationToken::new();
        let unread = flood(elsewhere.clone(), stop.clone());
        let quiet = latencies(&host, SAMPLES, &format!("unread {round}")).await;
        stop.cancel();
        unread.join().unwrap();
        let (stop, started) = (CancellationToken::new(), Instant::now());
        let read = flood(host.ipc("a", "messages"), stop.clone());
        let loud = latencies(&host, SAMPLES, &format!("read {round}")).await;
        stop.cancel();
        let (made, elapsed) = (read.join().unwrap(), started.elapsed());
        // Half as much again as the host would take of it.
        assert!(made as f64 > 300.0 * elapsed.as_secs_f64(), "{made} files in {elapsed:?} are no flood");
        if quiet_enough(&quiet, &loud) {
            fine = true;
            break;
        }
    }
    assert!(fine, "the flood delays others");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn noise_without_files_is_not_listened_to() {
    let _alone = ALONE.lock().await;
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
    let loud = latencies(&host, SAMPLES, "loud").await;
    host.put("a", "messages", "1.json", &message("web:a", "in the noise"));
    let end = Instant::now() + Duration::from_secs(5);
    while !host.texts().await.contains(&"in the noise".to_string()) {
        assert!(Instant::now() < end, "a noisy room is still looked at each second");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.cancel();
    noise.join().unwrap();
    assert!(middle(&loud) < Duration::from_millis(100), "{loud:?}");
    served.stop().await;
}

/// What was logged.
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

/// On one thread, so that the subscriber of this test sees what workers log.
#[tokio::test]
async fn a_flood_is_reported_once_and_refusals_are_counted() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let host = host().await;
    let served = host.serve();
    fs::create_dir_all(host.ipc("a", "messages")).unwrap();
    for i in 0..400 {
        host.put("a", "messages", &format!("{i:03}.json"), &message("web:b\u{1b}[31m\n", "not mine"));
    }
    served.open(&group("a"), run()).await.unwrap();
    until("all to be handled", || names(&host.ipc("a", "messages")).is_empty()).await;
    host.until_no_claims().await;
    assert_eq!(host.refusals().await.len(), 400);
    served.stop().await;
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert_eq!(log.matches("floods").count(), 1, "{log}");
    assert_eq!(log.matches("refused").count(), 10, "{log}");
    assert!(!log.contains('\u{1b}') && log.lines().count() < 20, "{log}");
}
