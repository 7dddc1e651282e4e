#!/usr/bin/env python3
"""The page of `moec serve` in headless Chromium, against the stand-in: what a person sees, hears and can do with it.

usage: tests/serve/page.py FOLDER [--docs FILE.png]

Screenshots are kept in FOLDER; --docs writes the one of the documentation. Ends with 77 (skipped) where there is no Chromium.
"""
import argparse
import json
import pathlib
import sys
import threading
import time
import traceback
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import stand_in  # noqa: E402
import webdriver  # noqa: E402

QUESTION = "Write a C function that sums an array."
IDLE = "document.querySelector('#stop').hidden && !document.querySelector('.running')"

# Every visible text against what lies behind it (WCAG 2.2, 1.4.3): the texts of less than 4.5, and their ratios.
CONTRAST = """
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
canvas.canvas.width = canvas.canvas.height = 1;
function rgba(color) {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = color;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
}
const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
function behind(element) {
  const layers = [];
  for (let e = element; e; e = e.parentElement) layers.unshift(rgba(getComputedStyle(e).backgroundColor));
  return layers.reduce((below, top) => over(top, below), [255, 255, 255, 1]);
}
function luminance(color) {
  const [r, g, b] = color.map((v) => v / 255).map((v) => (v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4));
  return .2126 * r + .7152 * g + .0722 * b;
}
const bad = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const e = walker.currentNode.parentElement, text = walker.currentNode.data.trim();
  if (!text || !e.checkVisibility() || e.closest(".unseen, script, style, noscript, option") || e.getClientRects().length === 0) continue;
  const paper = behind(e), ink = over(rgba(getComputedStyle(e).color), paper);
  const [a, b] = [luminance(ink), luminance(paper)].sort((x, y) => y - x), ratio = (a + .05) / (b + .05);
  if (ratio < 4.5) bad.push(`${text.slice(0, 30)}: ${ratio.toFixed(2)}`);
}
return [...new Set(bad)];
"""


class Page:
    """A page that is open in the browser, and its server."""

    def __init__(self, browser, server):
        self.browser, self.server = browser, server
        browser.open(server.url + "/")

    def ask(self, question=QUESTION):
        self.browser.type("#message", question + webdriver.KEYS["enter"])
        self.settle()

    def settle(self):
        self.browser.wait(f"document.querySelector('.answer') && {IDLE}", "the end of an answer")

    def ready(self, what="#expert-part"):
        self.browser.wait(f"!document.querySelector('{what}').hidden && state.model", "the model's facts")

    def texts(self, selector):
        return self.browser.script("return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)", selector)

    def value(self, expression):
        return self.browser.script(f"return {expression}")

    def wait_for_server(self, condition, what):
        end = time.monotonic() + 60
        while not condition(self.server):
            check(time.monotonic() < end, f"waited for the server: {what}")
            time.sleep(0.05)

    def last_request(self):
        return self.server.completions()[-1]


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def same(found, expected, what):
    check(found == expected, f"{what}: expected {expected!r}, found {found!r}")


# ---- the tests: each gets a fresh page; the names of keyword arguments are those of StandIn ----

def streams_and_colours(page, folder):
    page.ready()
    page.ask()
    same(page.texts(".question"), [QUESTION], "the question")
    same(page.texts(".answer .body")[0], stand_in.ANSWER, "the answer's text")
    request = page.last_request()
    same((request["stream"], request["routing"], request["moec"]), (True, True, {"omit_experts": []}), "the request")
    same(request["messages"], [{"role": "user", "content": QUESTION}], "the messages")
    tokens = page.value("[...document.querySelectorAll('.token')].map((t) => [t.textContent, t.className, t.dataset.expert, "
                        "t.token.layers, getComputedStyle(t).textDecorationColor, getComputedStyle(t).textDecorationStyle])")
    check(len(tokens) > 100, f"only {len(tokens)} tokens")
    looks = {}
    for text, name, expert, layers, colour, style in tokens:
        sums = {}
        for layer in layers:
            for e, gate in zip(layer["experts"], layer["gates"]):
                sums[e] = sums.get(e, 0) + gate
        same(sums[int(expert)], max(sums.values()), f"the strongest expert of {text!r}")
        looks.setdefault(expert, set()).add((colour, style))
    same(sorted(looks), ["0", "1", "2", "3"], "the experts that colour the answer")
    check(all(len(l) == 1 for l in looks.values()), f"an expert looks different from token to token: {looks}")
    same(len({next(iter(l))[0] for l in looks.values()}), 4, "colours of four experts")
    same(len({next(iter(l))[1] for l in looks.values()}), 4, "underlines of four experts, for those who see no colours")
    # by one layer
    page.browser.script("const s = document.querySelector('#layer'); s.value = '5'; s.dispatchEvent(new Event('change'))")
    wrong = page.value("[...document.querySelectorAll('.token')].filter((t) => { const l = t.token.layers.find((l) => l.layer === 5); "
                       "return t.dataset.expert !== String(l.experts[l.gates.indexOf(Math.max(...l.gates))]) }).length")
    same(wrong, 0, "tokens that layer 5 colours otherwise")
    check("seed" in page.texts(".foot")[0] and " a second" in page.texts(".foot")[0], f"the answer's foot: {page.texts('.foot')}")


def hover_and_keyboard_show_gates(page, folder):
    page.ready()
    page.ask()
    page.browser.hover(".token:nth-child(3)")
    page.browser.wait("!document.querySelector('#tip').hidden", "the tip")
    tip = page.texts("#tip")[0]
    token = page.value("document.querySelector('.token:nth-child(3)').token")
    for layer in token["layers"]:
        check(f"layer {layer['layer']}" in tip, f"the tip lacks layer {layer['layer']}: {tip}")
        for e, gate in zip(layer["experts"], layer["gates"]):
            check(f"{stand_in.NAMES[e]} {gate:.2f}" in tip, f"the tip lacks {stand_in.NAMES[e]} {gate:.2f}: {tip}")
    page.browser.rest_pointer()
    page.browser.wait("document.querySelector('#tip').hidden", "the tip to go")
    page.browser.script("document.querySelector('.body').focus()")
    page.browser.press("right", "right")
    same(page.value("[...document.querySelectorAll('.token')].indexOf(document.activeElement)"), 1, "two steps to the right")
    same(page.value("document.activeElement.getAttribute('aria-describedby')"), "tip", "what describes the token")
    check(not page.value("document.querySelector('#tip').hidden"), "no tip for the focused token")
    page.browser.press("end", "left")
    same(page.value("[...document.querySelectorAll('.token')].indexOf(document.activeElement)"),
         page.value("document.querySelectorAll('.token').length - 2"), "the last token but one")
    page.browser.press("escape")
    same(page.value("document.activeElement.className"), "body", "Escape goes back to the answer")


def switches_an_expert_off(page, folder):
    page.ready()
    page.ask()
    first = page.last_request()
    page.browser.click("#experts li:nth-child(2) button")
    page.browser.wait("document.querySelectorAll('.answer').length === 2", "a second answer")
    page.settle()
    second = page.last_request()
    same(second["moec"]["omit_experts"], [1], "the experts that the second request omits")
    same(second["seed"], first["seed"], "the second answer's seed")
    same(second["messages"], first["messages"], "the second answer's messages")
    same(page.texts(".answer .body"), [stand_in.ANSWER, stand_in.WITHOUT["code"]], "the two answers")
    same(page.texts(".answer h3"), ["All experts", "Without code"], "their titles")
    boxes = page.value("[...document.querySelectorAll('.answer')].map((a) => { const b = a.getBoundingClientRect(); return [b.left, b.top, b.right] })")
    check(boxes[0][2] <= boxes[1][0] and boxes[0][1] == boxes[1][1], f"the answers do not stand side by side: {boxes}")
    same(page.value("document.querySelector('#experts li:nth-child(2) button').getAttribute('aria-pressed')"), "false", "the switch")
    used = page.value("[...document.querySelectorAll('.answer:last-child .token')].some((t) => t.token.layers.some((l) => l.experts.includes(1)))")
    check(not used, "the second answer has tokens of the expert that is off")
    # the conversation goes on with the first, or with the second where that is wanted; and without that expert
    page.browser.script("[...document.querySelectorAll('.link')].find((l) => l.textContent === 'Go on with this one').click()")
    page.ask("And in one line?")
    same([m["content"] for m in page.last_request()["messages"]], [QUESTION, stand_in.WITHOUT["code"], "And in one line?"], "what it goes on with")
    same(page.last_request()["moec"]["omit_experts"], [1], "the experts that later requests omit")


def switches_back(page, folder):
    page.ready()
    page.ask()
    for expert in (1, 2, 3):
        page.browser.click(f"#experts li:nth-child({expert}) button")
    page.wait_for_server(lambda server: server.completions()[-1]["moec"]["omit_experts"] == [0, 1, 2], "three experts off")
    page.settle()
    page.browser.click("#experts li:nth-child(4) button")
    same(page.texts("#error span"), ["one expert has to stay on"], "the last expert")
    for expert in (1, 2, 3):
        page.browser.click(f"#experts li:nth-child({expert}) button")
    page.browser.wait("document.querySelectorAll('.answer').length === 1", "one answer again")
    same(page.texts(".answer .body"), [stand_in.ANSWER], "the first answer")


def settings_reach_the_server(page, folder):
    page.ready()
    for name, value in (("temperature", 0.3), ("top_p", 0.5), ("top_k", 40), ("min_p", 0.1), ("max_tokens", 32), ("active", 3)):
        page.browser.script("const s = document.querySelector('#' + arguments[0]); s.value = arguments[1]; s.dispatchEvent(new Event('input'))",
                            name, value)
    page.browser.type("#seed", "77")
    page.browser.type("#system", "Answer in verse.")
    page.browser.click("#secretary")
    page.ask()
    request = page.last_request()
    same({k: request[k] for k in ("temperature", "top_p", "top_k", "min_p", "max_tokens", "seed")},
         {"temperature": 0.3, "top_p": 0.5, "top_k": 40, "min_p": 0.1, "max_tokens": 32, "seed": 77}, "the samplers")
    same(request["moec"], {"omit_experts": [], "top_k": 3, "secretary": True}, "the routing")
    same(request["messages"][0], {"role": "system", "content": "Answer in verse."}, "the system prompt")
    foot = page.texts(".foot")[0]
    check("secretary: code 0.60" in foot and "cut at the longest answer" in foot and "seed 77" in foot, f"the foot: {foot}")
    page.browser.click("#defaults")
    same(page.texts("#temperature ~ *, .field output")[1:3], ["0.7", "0.95"], "the defaults")


def stops(page, folder):
    page.ready()
    page.browser.type("#message", "a long one" + webdriver.KEYS["enter"])
    page.browser.wait("document.querySelectorAll('.token').length > 5", "tokens")
    page.browser.click("#stop")
    page.settle()
    page.browser.wait("document.querySelector('.foot').textContent.includes('stopped after')", "the word of it")
    check(0 < page.value("document.querySelectorAll('.token').length") < 4000, "the answer was not stopped")
    page.wait_for_server(lambda server: server.cut == 1, "a stream that ends early")
    same(page.value("document.activeElement.id"), "message", "the focus")
    page.browser.type("#message", "a long one" + webdriver.KEYS["enter"])
    page.browser.wait("document.querySelectorAll('.running .token').length > 5", "tokens")
    page.browser.press("escape")
    page.settle()


def text_stays_text(page, folder):
    page.ready()
    page.ask("<b onclick=alert(1)>html</b> & such")
    same(page.texts(".question"), ["<b onclick=alert(1)>html</b> & such"], "the question")
    same(page.texts(".answer .body"), [stand_in.HTML], "the answer")
    same(page.value("document.querySelectorAll('#talk b, #talk img, #talk script').length"), 0, "elements out of text")
    check("broken" not in page.value("document.title"), "a script out of text ran")


def errors_in_one_line(page, folder):
    page.ready()
    page.server.fail = (429, "the queue is full", [("Retry-After", "7")])
    page.browser.type("#message", QUESTION + webdriver.KEYS["enter"])
    page.browser.wait("!document.querySelector('#error').hidden", "the error")
    same(page.texts("#error span"), ["the queue is full; again in 7 s"], "the error")
    same(page.value("document.querySelector('#message').value"), QUESTION, "the question that got no answer")
    same(page.value("document.querySelectorAll('.turn').length"), 0, "turns without an answer")
    same(page.value("document.querySelector('#error').getAttribute('role')"), "alert", "the error's role")
    page.browser.press("enter")
    page.settle()
    check(page.value("document.querySelector('#error').hidden"), "the error stays behind an answer")
    page.server.fail = (400, "x " * 900, [])
    page.browser.type("#message", "again" + webdriver.KEYS["enter"])
    page.browser.wait("!document.querySelector('#error').hidden", "the long error")
    check(page.value("document.querySelector('#error').getBoundingClientRect().height") < 45, "the error takes more than a line")


def what_came_stays_where_it_breaks(page, folder):
    page.ready()
    for question, error in (("break", "the connection broke before the answer's end"), ("fail", "out of memory")):
        page.ask(question)
        same(page.texts("#error span"), [error], "the error")
        check(not page.value("document.querySelector('#error').hidden"), "the error is hidden")
    broken, failed = page.texts(".answer .body")
    same(failed, "Walk over the array once", "what came before the server failed")
    check(broken and failed.startswith(broken), f"what came before the connection broke: {broken}")
    check("broken off after 5 tokens" in page.texts(".foot")[1], f"the foot: {page.texts('.foot')}")
    page.ask()
    same([m["role"] for m in page.last_request()["messages"]], ["user", "assistant"] * 2 + ["user"], "the conversation")


def key_is_asked(page, folder):
    page.browser.wait("!document.querySelector('#key').hidden", "the field for the key")
    page.browser.screenshot(folder / "page-key.png")
    page.browser.type("#key-field", "wrong" + webdriver.KEYS["enter"])
    page.browser.wait("!document.querySelector('#key').hidden && !document.querySelector('#key-field').value", "the field again")
    page.browser.type("#key-field", "secret" + webdriver.KEYS["enter"])
    page.ready()
    page.ask()
    same(page.texts(".answer .body"), [stand_in.ANSWER], "the answer")
    same(page.value("[localStorage.length, sessionStorage.length, document.cookie]"), [0, 0, ""], "what is kept of the key")


def dense(page, folder):
    page.browser.wait("state.model", "the model")
    page.browser.screenshot(folder / "page-dense.png")
    page.ask()
    same(page.texts(".answer .body"), [stand_in.ANSWER], "the answer")
    same(page.value("document.querySelectorAll('.token').length"), 0, "tokens")
    check(page.value("document.querySelector('#expert-part').hidden && document.querySelector('#traffic-part').hidden"), "parts for experts")
    request = page.last_request()
    check("moec" not in request and "routing" not in request, f"the request asks a dense model for routing: {request}")
    check(not any(path == "/v1/routing" for _, path, _ in page.server.requests), "a dense model's routing was asked for")
    page.browser.script("[...document.querySelectorAll('.link')].find((l) => l.textContent === 'Again beside it').click()")
    page.browser.wait("document.querySelectorAll('.answer').length === 2", "a second answer")
    page.settle()


def grid_follows_traffic(page, folder):
    page.ready()
    page.ask()
    rows = [[0] * 4 for _ in stand_in.LAYERS]
    page.browser.wait(f"document.querySelector('#traffic-text').textContent.startsWith('{page.server.tokens} tokens')", "the counts", 10)
    same(page.texts("#grid tbody th"), [f"layer {layer}" for layer in stand_in.LAYERS], "the grid's rows")
    cells = page.value("[...document.querySelectorAll('#grid tbody tr')].map((r) => [...r.querySelectorAll('td')].map((c) => c.textContent))")
    for i, layer in enumerate(stand_in.LAYERS):
        counts = page.server.counts[layer]
        rows[i] = [100 * n / sum(counts) for n in counts]
        check(all(abs(float(c) - r) <= 0.5 for c, r in zip(cells[i], rows[i])), f"layer {layer}: expected {rows[i]}, found {cells[i]}")
    page.browser.click("#reset")
    page.browser.wait("document.querySelector('#traffic-text').textContent.startsWith('0 tokens')", "zero")
    check(any(path == "/v1/routing/reset" for _, path, _ in page.server.requests), "no reset was asked for")


def keyboard_alone(page, folder):
    page.ready()
    browser = page.browser
    same(page.value("document.activeElement.id"), "message", "the focus at the beginning")
    browser.press(*"Hi", "enter")
    page.settle()
    same(page.last_request()["messages"][0]["content"], "Hi", "what was typed")
    # Tab goes through everything, in the order of the page, and what has the focus shows it.
    browser.script("document.querySelector('.skip').focus()")
    order = []
    for _ in range(60):
        at = page.value("(() => { const e = document.activeElement, s = getComputedStyle(e); return [e.id || e.className, "
                        "e.getBoundingClientRect().width > 0, s.outlineStyle !== 'none' || e.id === 'message'] })()")
        if order and at[0] in ("", "skip"):  # behind the last one
            break
        order.append(at)
        browser.press("tab")
    names = [name for name, _, _ in order]
    for earlier, later in zip(["skip", "new", "talk", "body", "message", "send", "expert", "layer", "temperature", "seed"],
                              ["new", "talk", "body", "message", "send", "expert", "layer", "temperature", "seed", "system"]):
        check(earlier in names and later in names and names.index(earlier) < names.index(later), f"Tab's order, {earlier} before {later}: {names}")
    check(all(seen and outlined for _, seen, outlined in order), f"a focus that is not seen: {order}")
    same(sum("token" in name.split() for name in names), 0, "tokens that stop Tab")
    # an expert off by the space bar
    browser.script("document.querySelector('#experts li:nth-child(3) button').focus()")
    browser.press("space")
    browser.wait("document.querySelectorAll('.answer').length === 2", "a second answer")
    page.settle()
    same(page.last_request()["moec"]["omit_experts"], [2], "the expert that the space bar switched off")
    # every control has a name, and the status tells a screen reader what came
    nameless = page.value("[...document.querySelectorAll('button, input, select, textarea')].filter((e) => !(e.textContent.trim() || "
                          "e.getAttribute('aria-label') || e.labels?.length)).map((e) => e.id)")
    same(nameless, [], "controls without a name")
    check(page.texts("#status")[0].startswith("Answer: "), f"the status: {page.texts('#status')}")
    same(page.value("document.querySelector('#status').getAttribute('aria-live')"), "polite", "how the status interrupts")
    twice = page.value("[...document.querySelectorAll('[id]')].map((e) => e.id).filter((id, i, all) => all.indexOf(id) !== i)")
    same(twice, [], "ids that are there twice")


def light_and_dark(page, folder):
    page.ready()
    page.browser.type("#seed", "7")
    page.ask()
    page.browser.click("#experts li:nth-child(2) button")
    page.browser.wait("document.querySelectorAll('.answer').length === 2", "a second answer")
    page.settle()
    page.browser.wait("document.querySelector('#grid tbody td')?.textContent > 0", "the grid", 10)
    papers = []
    for scheme in ("light", "dark"):
        page.browser.media(color_scheme=scheme, reduced_motion="reduce")
        same(page.browser.script(CONTRAST), [], f"texts of too little contrast, {scheme}")
        page.browser.script("document.querySelector('.token:nth-child(40)').focus()")
        same(page.browser.script(CONTRAST), [], f"texts of too little contrast beside a tip, {scheme}")
        papers.append(page.value("getComputedStyle(document.body).backgroundColor"))
        page.browser.script("document.querySelector('#talk').scrollTop = document.querySelector('#panel').scrollTop = 0; document.activeElement.blur()")
        page.browser.hover(".token:nth-child(46)")
        page.browser.screenshot(folder / f"page-{scheme}.png")
        page.browser.rest_pointer()
    check(papers[0] != papers[1], f"light and dark have the same paper, {papers[0]}")
    same(page.value("getComputedStyle(document.querySelector('.token')).transitionDuration"), "0s", "motion for those who want none")
    page.browser.media(color_scheme="light")


def narrow_screens(page, folder):
    page.browser.size(360, 740)
    page.ready()
    check(not page.value("document.querySelector('#panel').checkVisibility()"), "the panel takes a narrow screen's place")
    page.ask()
    page.browser.screenshot(folder / "page-narrow.png")
    for open_panel in (False, True):
        if open_panel:
            page.browser.click("#open-panel")
            check(page.value("document.querySelector('#panel').checkVisibility()"), "the panel does not open")
        wide = page.value("document.documentElement.scrollWidth")
        check(wide <= 360, f"{wide} pixels wide on a screen of 360")
    page.browser.click("#open-panel")
    page.browser.wait("document.querySelector('#message').checkVisibility()", "the conversation again")


def many_experts(page, folder):
    page.ready()
    page.ask()
    same(page.value("document.querySelectorAll('.expert').length"), 40, "switches")
    looks = page.value("new Set([...document.querySelectorAll('.expert .swatch')].map((s) => getComputedStyle(s).textDecorationColor + "
                       "getComputedStyle(s).textDecorationStyle)).size")
    same(looks, 40, "looks of 40 experts")
    page.browser.screenshot(folder / "page-many.png")
    same(page.texts(".expert .name")[39], "expert 39", "the name of one without")


TESTS = [(streams_and_colours, {}), (hover_and_keyboard_show_gates, {}), (switches_an_expert_off, {}), (switches_back, {}),
         (settings_reach_the_server, {}), (stops, {}), (text_stays_text, {}), (errors_in_one_line, {}), (what_came_stays_where_it_breaks, {}), (key_is_asked, {"key": "secret"}),
         (dense, {"experts": 0}), (grid_follows_traffic, {}), (keyboard_alone, {}), (light_and_dark, {"delay": 0.025}), (narrow_screens, {}),
         (many_experts, {"experts": 40})]


def check_logs(browser, servers):
    """Nothing went elsewhere, and the policy had nothing to refuse."""
    hosts = set()
    for entry in browser.log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            url = urllib.parse.urlsplit(message["params"]["request"]["url"])
            if url.scheme not in ("data", "about", "chrome"):
                hosts.add(f"{url.scheme}://{url.netloc}")
    check(hosts <= servers, f"requests to other hosts: {hosts - servers}")
    check(hosts, "the log of requests is empty")
    meant = [f"status of {code}" for code in (400, 401, 429)] + ["ERR_INCOMPLETE_CHUNKED_ENCODING"]
    loud = [entry["message"] for entry in browser.log("browser")
            if entry["level"] == "SEVERE" and not any(words in entry["message"] for words in meant)]
    check(not loud, f"the console says: {loud}")


def run(browser, test, options, folder, servers):
    server = stand_in.StandIn(**options)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    servers.add(server.url)
    try:
        browser.size(1280, 860)
        test(Page(browser, server), folder)
        return True
    except (AssertionError, webdriver.WebDriverError):
        print(f"FAILED: {test.__name__}", file=sys.stderr)
        traceback.print_exc()
        browser.screenshot(folder / f"failed-{test.__name__}.png")
        return False
    finally:
        browser.open("about:blank")
        server.shutdown()
        server.server_close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--docs", type=pathlib.Path)
    parser.add_argument("--only", help="tests whose names have this in them")
    options = parser.parse_args()
    if not webdriver.is_there():
        print("no chromium with chromedriver (scripts/install-deps browser): skipped")
        return 77
    options.folder.mkdir(parents=True, exist_ok=True)
    browser, servers, failures = webdriver.Browser(), set(), 0
    try:
        for test, server in TESTS:
            if not options.only or options.only in test.__name__:
                failures += not run(browser, test, server, options.folder, servers)
        check_logs(browser, servers)
    finally:
        browser.close()
    if options.docs:
        options.docs.write_bytes((options.folder / "page-light.png").read_bytes())
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
