"""A page in a browser that is watched: what it asks for, what it complains of."""


class Watched:
    """A page in the browser, and everything about it that went wrong."""

    def __init__(self, browser, address, width=1280, scheme="light", **options):
        self.context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, **options)
        self.page, self.address, self.wrong = self.context.new_page(), address, []
        self.scripts = options.get("java_script_enabled", True)
        self.page.on("request", self.request)
        self.page.on("console", lambda m: m.type in ("error", "warning") and self.wrong.append(f"console: {m.text}"))
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("requestfailed", lambda r: self.wrong.append(f"failed: {r.url}"))
        self.page.on("response", lambda r: r.status >= 400 and self.wrong.append(f"{r.status}: {r.url}"))

    def request(self, request):
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.wrong.append(f"outside: {request.url}")

    def open(self, name, fragment=""):
        self.page.goto(f"{self.address}/{name}.html{fragment}")
        self.page.wait_for_load_state("networkidle")
        if not self.scripts:
            return self.page
        if self.page.locator(".math").count():
            self.page.wait_for_selector("mjx-container", state="attached")
        if self.page.locator('script[type="application/vnd.jupyter.widget-view+json"]').count():
            self.page.wait_for_selector("html[data-widgets=ready]", state="attached")
        return self.page

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()
