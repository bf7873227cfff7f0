//! `parlor setup`: asks in a terminal who is to answer; the same question is asked once at the first start.

mod ask;
mod check;
mod choice;
mod keys;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use super::client::{Client, ClientError};
use super::{Done, Failure};
use crate::config::extras;
use crate::config::provider::{self, Means};
use crate::config::settings::Settings;
use crate::config::{self, Overrides, env_edit, secrets};
use crate::container::image;
use crate::container::image::full::FullImage;
use crate::domain::group::ContainerConfig;
use ask::{Asker, tell};
use check::{Checked, check};
use choice::{Changes, Choice, Env};

/// Asks who is to answer, and for the key that takes; checks it, and keeps it in .env.
#[derive(Debug, Args)]
pub(super) struct Setup;

impl Setup {
    pub(super) async fn run(self, settings: Settings, client: &Client) -> Done {
        if !ask::is_terminal() {
            let env = settings.home.env_file().display().to_string();
            return Err(Failure::Failed(format!(
                "setup asks questions: run it in a terminal, or write a key such as ANTHROPIC_API_KEY=… into {env}"
            )));
        }
        let was = settings.provider.clone();
        let home = settings.home.clone();
        Dialog::new(settings)?.run().await?;
        if config::load(&Overrides { home: Some(home.root().to_owned()), ..Overrides::default() })?.provider != was
            && !matches!(client.get("/readyz").await, Err(ClientError::NoHost(_)))
        {
            tell("A host runs already: start it again, so that it takes this over.")?;
        }
        Ok(())
    }
}

/// Asks once, at the first start in a terminal, unless settings or keys decide already. Returns the settings after it.
pub(super) async fn at_first_start(
    overrides: &Overrides,
    settings: Settings,
    client: &Client,
) -> Result<Settings, Failure> {
    if !ask::is_terminal() || is_answered(overrides, &settings) {
        return Ok(settings);
    }
    if !matches!(client.get("/readyz").await, Err(ClientError::NoHost(_))) {
        return Ok(settings);
    }
    Dialog::new(settings)?.run().await?;
    Ok(config::load(overrides)?)
}

fn is_answered(overrides: &Overrides, settings: &Settings) -> bool {
    let in_environment = |key: &str| std::env::var_os(key).is_some_and(|value| !value.is_empty());
    // A file that cannot be read is reported by the code that needs it.
    let Ok(file) = secrets::env_file(&settings.home.env_file()) else { return true };
    let in_file = |key: &str| file.get(key).is_some_and(|value| !value.is_empty());
    let set = |key: &str| in_environment(key) || in_file(key);
    settings.home.setup_marker().exists()
        || std::env::var_os("YES").is_some_and(|yes| yes == "1")
        || overrides.provider.is_some()
        || settings.provider != provider::AUTO
        || settings.image.is_some()
        || set("PARLOR_PROVIDER")
        || settings.secret_keys.iter().any(|key| set(key))
}

/// The next step after a key did not work.
enum Next {
    Keep,
    Again,
    Skip,
}

struct Dialog {
    settings: Settings,
    /// The content of `.env`.
    env: Env,
    /// The changes to be made there.
    changes: Changes,
    asker: Asker,
}

impl Dialog {
    fn new(settings: Settings) -> Result<Self, Failure> {
        let env = secrets::env_file(&settings.home.env_file()).map_err(|mut errors| errors.remove(0))?;
        Ok(Self { settings, env, changes: Changes::new(), asker: Asker::new()? })
    }

    async fn run(&mut self) -> Done {
        let choice = self.choose().await?;
        match choice {
            Choice::Skip => {}
            Choice::Guide => self.guide()?,
            _ => {
                if !self.model(choice).await? {
                    self.changes.clear();
                }
            }
        }
        let changed = self.write()?;
        self.remember();
        tell(match choice {
            Choice::Guide => "The guide answers. `parlor setup` asks again.",
            _ if !changed => "Nothing was changed. `parlor setup` asks again.",
            _ => "`parlor setup` changes it.",
        })?;
        if changed && choice == Choice::Claude {
            self.offer_claude_code().await?;
        }
        Ok(())
    }

    async fn choose(&mut self) -> Result<Choice, Failure> {
        let offered = Choice::offered();
        let mut menu = String::from("Who is to answer in your groups?\n");
        for (index, choice) in offered.iter().enumerate() {
            // Writing into memory cannot fail.
            let _ = write!(menu, "\n  {}  {}", index + 1, choice.label());
        }
        tell(&menu)?;
        tell("")?;
        loop {
            let answer = self.asker.line("A number or a name; Enter takes 1: ").await?;
            if answer.is_empty() {
                return Ok(Choice::Guide);
            }
            match choice::meant(&offered, &answer) {
                Ok(choice) => return Ok(choice),
                Err(why) => tell(&why)?,
            }
        }
    }

    /// Chooses the guide; nothing is written if it answers by default.
    fn guide(&mut self) -> Done {
        if self.auto() != Some(provider::GUIDE) || self.settings.provider != provider::AUTO {
            self.change("PARLOR_PROVIDER", Some(SecretString::from(provider::GUIDE)));
        }
        environment_wins(provider::GUIDE)
    }

    /// Asks for everything that a model needs. Returns false if nothing is to be saved.
    async fn model(&mut self, choice: Choice) -> Result<bool, Failure> {
        if self.settings.provider != choice.provider() {
            self.change("PARLOR_PROVIDER", Some(SecretString::from(choice.provider())));
        }
        environment_wins(choice.provider())?;
        choice.provider().clone_into(&mut self.settings.provider);
        self.settings.image_with = extras::with_provider(self.settings.image_with.clone(), choice.provider());
        let (before, mut again) = (self.changes.clone(), false);
        loop {
            let Some(own) = self.value(choice, again).await? else { return Ok(false) };
            self.rivals(choice, &own).await?;
            self.strays(&own).await?;
            if choice.needs_full_image() && self.settings.image.is_none() {
                self.offer_image().await?;
            }
            match self.verdict().await? {
                Next::Keep => return Ok(true),
                Next::Skip => return Ok(false),
                // All answers are dropped: they may have been meant for another server.
                Next::Again => (self.changes, again) = (before.clone(), true),
            }
        }
    }

    async fn offer_image(&mut self) -> Done {
        let full = FullImage::new(&self.settings);
        if super::image::has_full(&self.settings).await {
            return Ok(());
        }
        tell(&format!("It needs {}: {}.", full.title(), full.size()))?;
        if self.asker.yes("Make it now?", true).await? {
            return self.make_image().await;
        }
        tell("`parlor image build full` makes it; until then the guide answers, or the first message waits for it.")
    }

    /// Offers Claude Code; without it, Claude answers through Parlor's own agent.
    async fn offer_claude_code(&mut self) -> Done {
        if self.settings.image.is_some() || super::image::has_full(&self.settings).await {
            return Ok(());
        }
        let size = FullImage::new(&self.settings).size();
        tell(&format!(
            "Claude answers through Parlor's own agent. Claude Code itself lives in an image of its own: {size}."
        ))?;
        if self.asker.yes("Make it now?", false).await? {
            return self.make_image().await;
        }
        tell("`parlor image build full` makes it, any time.")
    }

    /// Builds the image. A failure is reported and does not discard the answers.
    async fn make_image(&mut self) -> Done {
        let made = tokio::select! {
            made = super::image::make_full(&self.settings) => made,
            () = self.asker.interrupted() => Err(Failure::Failed("interrupted".into())),
        };
        match made {
            Err(Failure::Failed(why) | Failure::Usage(why)) => {
                tell(&format!("The image was not made: {why}. `parlor image build full` tries again."))
            }
            made => made,
        }
    }

    /// Checks the agent, and asks for the next step if the check fails.
    async fn verdict(&mut self) -> Result<Next, Failure> {
        let secrets = self.secrets();
        let Some(agent) = self.agent(&secrets) else { return Ok(Next::Keep) };
        if provider::needs_full_image(agent) && !super::image::has_full(&self.settings).await {
            tell("It can be checked once its image is there: `parlor setup` does.")?;
            return Ok(Next::Keep);
        }
        let secrets = secrets.into_iter().filter(|(key, _)| provider::may_have(agent, key)).collect();
        tell("Checking: the agent is asked for one word …")?;
        let Some(checked) = check(&self.settings, agent, secrets, &mut self.asker).await else {
            return Err(Failure::Failed("interrupted; nothing was changed".into()));
        };
        match checked {
            Checked::Works(took) => {
                tell(&format!("It works: {agent} answered after {:.1} s.", took.as_secs_f64()))?;
                return Ok(Next::Keep);
            }
            Checked::Fails(why) => tell(&format!("That did not work: {why}"))?,
            Checked::Unknown(why) => tell(&format!("It cannot be checked: {why}."))?,
        }
        loop {
            let answer = self.asker.line("Type it again, keep it, or skip? [a/k/s] ").await?;
            match answer.to_ascii_lowercase().as_str() {
                "" | "a" | "again" => return Ok(Next::Again),
                "k" | "keep" => return Ok(Next::Keep),
                "s" | "skip" => return Ok(Next::Skip),
                _ => tell("Please answer a, k or s.")?,
            }
        }
    }

    /// The keys after the changes.
    fn secrets(&self) -> BTreeMap<String, SecretString> {
        let mut all: BTreeMap<String, SecretString> =
            self.env.iter().map(|(key, value)| (key.clone(), SecretString::from(value.as_str()))).collect();
        for (key, change) in &self.changes {
            match change {
                Some(value) => drop(all.insert(key.clone(), value.clone())),
                None => drop(all.remove(key)),
            }
        }
        all.retain(|key, value| self.settings.secret_keys.contains(key) && !value.expose_secret().is_empty());
        all
    }

    /// The provider that answers with these keys; None if it has no model.
    fn agent(&self, secrets: &BTreeMap<String, SecretString>) -> Option<&'static str> {
        let means = Means::of(secrets.keys().map(String::as_str), self.settings.home.full_image().exists());
        let choice = provider::choose(&self.settings, &ContainerConfig::default(), means).ok()?;
        (choice.provider != provider::GUIDE).then_some(choice.provider)
    }

    /// The provider that `auto` chooses with the keys in `.env`.
    fn auto(&self) -> Option<&'static str> {
        let keys = self.settings.secret_keys.iter().map(String::as_str);
        let there = keys.filter(|name| self.env.get(*name).is_some_and(|value| !value.is_empty()));
        let means = Means::of(there, self.settings.home.full_image().exists());
        let auto = Settings { provider: provider::AUTO.into(), ..self.settings.clone() };
        provider::choose(&auto, &ContainerConfig::default(), means).ok().map(|choice| choice.provider)
    }

    fn change(&mut self, key: &str, value: Option<SecretString>) {
        self.changes.insert(key.to_owned(), value);
    }

    /// Writes the changes. Returns false if there were none.
    fn write(&self) -> Result<bool, Failure> {
        if self.changes.is_empty() {
            return Ok(false);
        }
        let path = self.settings.home.env_file();
        let changes: Vec<(&str, Option<&str>)> = self
            .changes
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_ref().map(ExposeSecret::expose_secret)))
            .collect();
        env_edit::change(&path, &changes)?;
        let names = |set: bool| -> Vec<&str> {
            changes.iter().filter(|(_, value)| value.is_some() == set).map(|(key, _)| *key).collect()
        };
        let (set, out) = (names(true), names(false));
        if !set.is_empty() {
            tell(&format!("{} holds {} now, readable by you alone.", path.display(), set.join(" and ")))?;
        }
        if !out.is_empty() {
            tell(&format!("Taken out of {}: {}.", path.display(), out.join(" and ")))?;
        }
        Ok(true)
    }

    /// Records that the question was asked. If that fails, it is asked again next time.
    fn remember(&self) {
        let marker = self.settings.home.setup_marker();
        let folder = self.settings.home.data();
        let made = image::make_data(&folder);
        if let Err(error) = made.and_then(|()| fs::write(&marker, "")) {
            tracing::warn!("cannot write {}: {error}", marker.display());
        }
    }
}

/// Warns if a variable of the environment overrides `.env`.
fn environment_wins(wanted: &str) -> Done {
    match std::env::var("PARLOR_PROVIDER") {
        Ok(said) if !said.is_empty() && said != wanted => tell(&format!(
            "PARLOR_PROVIDER is {said} in this terminal's environment, and that comes first: take it out of there."
        )),
        _ => Ok(()),
    }
}
