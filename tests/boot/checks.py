"""One line a check: what was asked, what was found, whether that is right."""


class Checks:
    def __init__(self, log, label="boot-test"):
        self.log = open(log, "w")
        self.label = label
        self.subject = ""
        self.passed = 0
        self.failed = 0

    def about(self, subject):
        self.subject = subject

    def equal(self, what, found, wanted):
        self.verdict(what, found, found == wanted, f"wanted {wanted!r}")

    def has(self, what, found, wanted):
        self.verdict(what, found, wanted in found, f"wanted {wanted!r} in it")

    def contains(self, what, found, wanted):
        lacking = sorted(wanted - set(found))
        self.verdict(what, " ".join(found), not lacking, f"lacks {' '.join(lacking)}")

    def at_least(self, what, found, wanted):
        self.verdict(what, found, found >= wanted, f"wanted at least {wanted}")

    def at_most(self, what, found, wanted):
        self.verdict(what, found, found <= wanted, f"wanted at most {wanted}")

    def verdict(self, what, found, holds, why):
        self.passed += holds
        self.failed += not holds
        line = f"{'ok  ' if holds else 'FAIL'}  {self.subject}: {what}: {found!r}" + ("" if holds else f" ({why})")
        print(line, flush=True)
        print(line, file=self.log, flush=True)

    def finish(self):
        print(f"{self.label}: {self.passed} checks held, {self.failed} did not", flush=True)
