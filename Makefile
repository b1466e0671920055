# What .ci/vulkan does: nothing where a Vulkan device exists; on Debian and Ubuntu without one it installs a driver.
CARGO := $(shell PATH="$$PATH:$${CARGO_HOME:-$$HOME/.cargo}/bin"; command -v cargo)

define ready
@[ -n "$(CARGO)" ] || { echo "No cargo here: install Rust from https://rustup.rs, then run this again." >&2; exit 1; }
@sh .ci/vulkan
endef

.PHONY: help train test bench

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' Makefile
	@echo 'ARGS go to the program:  make train ARGS="--epochs 2"'

train: ## train the ternary network on MNIST; installs a Vulkan driver where there is none
	$(ready)
	$(CARGO) run --release -- train $(ARGS)

test: ## run all tests, the documentation's examples too
	$(ready)
	@sh .ci/chromium
	$(CARGO) test --release

bench: ## run the benchmarks
	$(ready)
	$(CARGO) bench
