# Parlor. `make run` is all a newcomer needs; YES=1 answers every question with yes.
PREFIX ?= $(shell if [ "$$(id -u)" = 0 ]; then echo /usr/local; else echo $(HOME)/.local; fi)

.PHONY: help run test test-scripts sim build check bench test-agent install

help:
	@echo 'make run       set up what is missing, build, and talk to the main group'
	@echo 'make test      set up what tests need, then formatting, lints and all tests'
	@echo 'make test-scripts  try make run on machines that are thrown away (docker, root; a few minutes)'
	@echo 'make sim SEED=n  replay and print one history of the simulator; without SEED, 10,000 new ones'
	@echo 'make build     build target/release/parlor'
	@echo 'make check     formatting and lints only'
	@echo 'make bench     measure every figure, and write docs/BENCHMARKS.md'
	@echo 'make install   copy parlor, one file, to $$(PREFIX)/bin ($(PREFIX)), with its manual pages and completions'

run:
	@scripts/run.sh

test:
	@scripts/test.sh

test-scripts:
	@scripts/build-test-machine.sh
	cargo clippy --locked --test machines -- -D warnings
	cargo test --locked --test machines

sim:
	@if [ -n '$(SEED)' ]; then PARLOR_SIM_SEED='$(SEED)' cargo test --locked -p parlor --lib -- --exact dispatch::sim::replay --nocapture; \
	else cargo test --locked -p parlor --lib -- dispatch::sim::histories --nocapture; fi

build:
	cargo build --release --locked --target-dir target

check:
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

bench:
	cargo bench --locked --bench figures

test-agent:
	@scripts/build-test-agent.sh

install: build
	install -D -m 755 target/release/parlor '$(DESTDIR)$(PREFIX)/bin/parlor'
	target/release/parlor man '$(DESTDIR)$(PREFIX)/share/man/man1'
	install -d '$(DESTDIR)$(PREFIX)/share/bash-completion/completions' '$(DESTDIR)$(PREFIX)/share/zsh/site-functions' \
	  '$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d'
	target/release/parlor completions bash > '$(DESTDIR)$(PREFIX)/share/bash-completion/completions/parlor'
	target/release/parlor completions zsh > '$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_parlor'
	target/release/parlor completions fish > '$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/parlor.fish'
