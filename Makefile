# What .ci/vulkan does: nothing where a Vulkan device exists; on Debian and Ubuntu without one it installs a driver.
CARGO := $(shell PATH="$$PATH:$${CARGO_HOME:-$$HOME/.cargo}/bin"; command -v cargo)

# What `sterna --version` says it was built from.
export STERNA_COMMIT := $(shell git describe --always --dirty 2>/dev/null)

define ready
@[ -n "$(CARGO)" ] || { echo "No cargo here: install Rust from https://rustup.rs, then run this again." >&2; exit 1; }
@sh .ci/vulkan
endef

.PHONY: help train page test bench renderdoc gpu-archive mpi witnesses

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile
	@echo 'ARGS go to the program:  make train ARGS="--epochs 2"'

train: ## train the ternary network on MNIST; installs a Vulkan driver where there is none
	$(ready)
	$(CARGO) run --release -- train $(ARGS)

page: ## write web/digits.html: a network of digits that runs in anyone's browser; trains it where it is missing
	$(ready)
	$(CARGO) build --release
	@[ -e runs/page/model.safetensors ] || target/release/sterna train --out runs/page $(ARGS)
	target/release/sterna page runs/page -o web/digits.html --force

test: ## run all tests, the documentation's examples too; installs what they need: RenderDoc, a browser, Python, Node
	$(ready)
	@sh .ci/renderdoc
	@sh .ci/chromium
	@sh .ci/python
	@sh .ci/tint
	$(CARGO) test --release

bench: ## run the benchmarks
	$(ready)
	$(CARGO) bench

renderdoc: ## capture one training step for RenderDoc, no display needed; installs RenderDoc where it is missing
	$(ready)
	@sh .ci/renderdoc
	$(CARGO) build --release
	@mkdir -p runs/renderdoc
	renderdoccmd capture -w -d "$(CURDIR)" -c "$(CURDIR)/runs/renderdoc/step" target/release/sterna profile train --renderdoc $(ARGS)
	/usr/bin/python3 -B tests/capture.py runs/renderdoc/step_capture.rdc

gpu-archive: ## pack what benches/gpu runs on a machine with a GPU and without Rust, into target/gpu.tar.xz
	$(ready)
	@sh .ci/gpu-archive

mpi: ## build target/release/sterna with MPI, to train on several machines, and test it; installs Open MPI
	$(ready)
	@sh .ci/mpi
	$(CARGO) test --release --features mpi --test mpi

witnesses: ## compute everything again on Debian 13's Mesa, in a folder that is made once; needs root
	$(ready)
	@sh .ci/witnesses
