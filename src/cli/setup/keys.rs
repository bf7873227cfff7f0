//! The questions for keys and addresses.

use std::process::Command;

use secrecy::{ExposeSecret, SecretString};

use super::super::output::harmless;
use super::super::{Done, Failure};
use super::Dialog;
use super::ask::tell;
use super::choice::{self, Choice};

impl Dialog {
    /// Asks for the key or the address and returns its name, or None if none was given. With `again`, the present
    /// value is not offered.
    pub(super) async fn value(&mut self, choice: Choice, again: bool) -> Result<Option<String>, Failure> {
        let Some(key) = choice.key() else { return self.server().await };
        let moved = self.addresses(choice).await?;
        if !again && choice::value(&self.env, key).is_some() {
            let so_far = if moved { ", and it went to that address so far" } else { "" };
            if self.asker.yes(&format!("There is {key} in .env already{so_far}. Keep it?"), !moved).await? {
                return Ok(Some(key.to_owned()));
            }
        }
        tell(choice.source())?;
        if choice == Choice::ClaudeToken {
            self.log_in().await?;
        }
        loop {
            let value = self.asker.key(&format!("{key} (not shown; Enter skips): ")).await?;
            if value.expose_secret().is_empty() {
                return Ok(None);
            }
            let odd = choice::oddity(key, value.expose_secret());
            if let Some(odd) = odd {
                tell(&odd)?;
                if !self.asker.yes("Take it all the same?", true).await? {
                    continue;
                }
            }
            self.change(key, Some(value));
            return Ok(Some(key.to_owned()));
        }
    }

    /// Offers to remove addresses that would send a vendor's key elsewhere. Returns true if one was removed.
    async fn addresses(&mut self, choice: Choice) -> Result<bool, Failure> {
        let mut moved = false;
        let Some(vendor) = choice.vendor() else { return Ok(moved) };
        for address in vendor.addresses {
            let Some(place) = choice::value(&self.env, address).map(choice::place) else { continue };
            let there = format!("There is {address} in .env: the key would go to {place}, not to {}.", vendor.name);
            moved |= self.take_out(address, &there, &format!("It stays: the key goes to {place}.")).await?;
        }
        Ok(moved)
    }

    /// Offers to remove keys that would go to a server for which they were not given.
    pub(super) async fn strays(&mut self, own: &str) -> Done {
        for (key, place) in choice::strays(own, &self.env, &self.changes) {
            let there = format!("There is {key} in .env, and it would go to {place} now.");
            self.take_out(key, &there, &format!("It stays, and goes to {place}.")).await?;
        }
        Ok(())
    }

    async fn take_out(&mut self, key: &str, there: &str, stays: &str) -> Result<bool, Failure> {
        let out = self.asker.yes(&format!("{} Take it out of .env?", harmless(there)), true).await?;
        if out {
            self.change(key, None);
        } else {
            tell(&harmless(stays))?;
        }
        Ok(out)
    }

    async fn server(&mut self) -> Result<Option<String>, Failure> {
        tell(
            "The address as the rooms reach it, such as http://192.168.1.5:11434 for Ollama, or http://192.168.1.5:8080/v1 \
             for a server that speaks OpenAI's protocol.",
        )?;
        loop {
            let address = self.asker.line("Address (Enter skips): ").await?;
            if address.is_empty() {
                return Ok(None);
            }
            let (key, value) = match choice::server(&address) {
                Ok(found) => found,
                Err(why) => {
                    tell(&format!("That is no address: {why}."))?;
                    continue;
                }
            };
            if choice::is_loopback(&value) {
                tell("In a room that is the room itself: use this machine's address in its network.")?;
                if !self.asker.yes("Take it all the same?", false).await? {
                    continue;
                }
            }
            self.change(key, Some(SecretString::from(value)));
            if key == "OPENAI_BASE_URL" {
                let secret = self.asker.key("Its key (not shown; Enter: it needs none): ").await?;
                if !secret.expose_secret().is_empty() {
                    self.change("OPENAI_API_KEY", Some(secret));
                }
            }
            return Ok(Some(key.to_owned()));
        }
    }

    /// Starts Claude Code's own login, if the program is on this machine.
    async fn log_in(&mut self) -> Done {
        let found = std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join("claude").is_file()));
        if !found || !self.asker.yes("It is on this machine. Run `claude setup-token` now?", true).await? {
            return Ok(());
        }
        let ran = tokio::task::spawn_blocking(|| Command::new("claude").arg("setup-token").status()).await;
        match ran.map_err(std::io::Error::other).flatten() {
            Ok(status) if status.success() => tell("Copy the token that it printed."),
            Ok(status) => tell(&format!("It ended with {status}. A token from elsewhere is as good.")),
            Err(error) => tell(&format!("It cannot be run: {error}. A token from elsewhere is as good.")),
        }
    }

    /// Offers to remove other vendors' keys that would come first.
    pub(super) async fn rivals(&mut self, choice: Choice, own: &str) -> Done {
        let rivals: Vec<String> = choice::rivals(choice, own, &self.env).into_iter().map(str::to_owned).collect();
        for key in rivals {
            if self.changes.contains_key(&key) {
                continue;
            }
            let question = format!("There is {key} in .env, too, and it comes first. Take it out of .env?");
            if self.asker.yes(&question, false).await? {
                self.change(&key, None);
            }
        }
        Ok(())
    }
}
