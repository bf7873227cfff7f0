//! Files of agents, on their way to a platform.

use std::sync::Mutex;

use async_trait::async_trait;

use super::*;
use crate::channel::{Capabilities, Channel, DeliverError, Part, PartKey, Receipt, Target};
use crate::domain::clock::{Clock, SystemClock};
use crate::domain::delivery::{Delivery, DeliveryKind, DeliveryState, FileInfo, NewDelivery};
use crate::domain::ids::DeliveryId;
use crate::store::outbox::Route;
use crate::store::outbox_files::sweep;
use crate::store::testing::store;

/// Test double: a platform that notes what arrives.
#[derive(Debug, Default)]
struct Double {
    files: bool,
    arrived: Mutex<Vec<(u32, Arrived)>>,
}

#[derive(Debug, Clone, PartialEq)]
enum Arrived {
    Text(String),
    File(String, Vec<u8>),
}

#[async_trait]
impl Channel for Double {
    fn name(&self) -> &'static str {
        "double"
    }
    fn owns(&self, jid: &ChatJid) -> bool {
        jid.channel() == "double"
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities { max_length: Some(1000), files: self.files, typing: false, local: false }
    }
    async fn deliver(&self, key: PartKey, _: &Target, part: &Part) -> Result<Receipt, DeliverError> {
        let arrived = match part {
            Part::Text(text) => Arrived::Text(text.clone()),
            // As an adapter would: it sends what lies there at that time.
            Part::File { name, path } => Arrived::File(name.clone(), std::fs::read(path).unwrap()),
        };
        self.arrived.lock().unwrap().push((key.part, arrived));
        Ok(Receipt::default())
    }
}

fn delivery(caption: &str) -> NewDelivery {
    NewDelivery {
        id: DeliveryId(SystemClock.ulid()),
        jid: "double:a".parse().unwrap(),
        text: caption.to_owned(),
        sender: None,
        reply_to: None,
        file: Some(FileInfo { name: "a.bin".into(), size: 3 }),
        kind: DeliveryKind::Message,
        run_id: None,
    }
}

/// Delivers one row and returns what arrived, and the row's end.
async fn deliver(files: bool, caption: &str, content: Option<&[u8]>) -> (Vec<(u32, Arrived)>, Delivery, String) {
    let (_dir, store, _wakes) = store();
    let new = delivery(caption);
    let id = new.id;
    if let Some(content) = content {
        store.files().keep(id, "a.bin", content).unwrap();
    }
    let path = store.files().path(id, "a.bin").display().to_string();
    store.write(move |tx| outbox::put(tx, &new, Route::Platform, false, SystemClock.now())).await.unwrap();
    let double = Arc::new(Double { files, ..Double::default() });
    let shutdown = CancellationToken::new();
    let registry = Registry::new(vec![double.clone()]);
    let worker = Outbound::new(store.clone(), Arc::new(SystemClock), registry);
    let worker = tokio::spawn(worker.run(Arc::new(Notify::new()), shutdown.clone()));
    let deadline = Instant::now() + Duration::from_secs(30);
    let row = loop {
        let row = store.read(move |db| outbox::get(db, id)).await.unwrap().unwrap();
        if row.state != DeliveryState::Pending {
            break row;
        }
        assert!(Instant::now() < deadline, "it still waits");
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    shutdown.cancel();
    worker.await.unwrap();
    let arrived = std::mem::take(&mut *double.arrived.lock().unwrap());
    (arrived, row, path)
}

#[tokio::test]
async fn a_file_follows_its_caption_where_the_channel_takes_files() {
    let file = || Arrived::File("a.bin".into(), b"\0\x01\xff".to_vec());
    let (arrived, row, _) = deliver(true, "see", Some(b"\0\x01\xff")).await;
    assert_eq!(arrived, [(0, Arrived::Text("see".into())), (1, file())]);
    assert_eq!(row.state, DeliveryState::Delivered);
    assert_eq!(deliver(true, "", Some(b"\0\x01\xff")).await.0, [(0, file())]);
}

#[tokio::test]
async fn place_of_the_file_is_sent_if_the_channel_accepts_none() {
    let (arrived, row, path) = deliver(false, "see", Some(b"abc")).await;
    let [(0, Arrived::Text(text))] = &arrived[..] else { panic!("{arrived:?}") };
    assert!(text.starts_with("see\n\n(The file a.bin, 3 bytes, ") && text.contains(&path), "{text}");
    assert_eq!(row.state, DeliveryState::Delivered);
}

#[tokio::test]
async fn delivery_of_a_missing_file_fails_with_the_reason() {
    let (arrived, row, _) = deliver(true, "see", None).await;
    assert_eq!((arrived, row.state), (Vec::new(), DeliveryState::Failed));
    assert!(row.last_error.unwrap().contains("\"a.bin\" is gone"));
}

#[tokio::test]
async fn files_without_a_row_are_swept_but_not_those_of_open_claims() {
    let (dir, store, _wakes) = store();
    assert_eq!(sweep(&store).await.unwrap(), 0);
    let new = delivery("kept");
    let (kept, lost, claimed) = (new.id, delivery("").id, delivery("").id);
    for id in [kept, lost, claimed] {
        store.files().keep(id, "a.bin", b"x").unwrap();
    }
    std::fs::create_dir_all(dir.path().join("claimed")).unwrap();
    std::fs::write(dir.path().join(format!("claimed/{claimed}.main.m")), "{}").unwrap();
    store.write(move |tx| outbox::put(tx, &new, Route::Platform, false, SystemClock.now())).await.unwrap();
    assert_eq!(sweep(&store).await.unwrap(), 1);
    let there = |id| store.files().path(id, "a.bin").exists();
    assert_eq!([kept, lost, claimed].map(there), [true, false, true]);
}
