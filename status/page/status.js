/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Keeps the status page up to date: fetches it anew and takes over what is
 * different, so that nothing flickers, selections stay, and what is looked at
 * stays where it is.  Rates are then those between two fetches, which the
 * server, that keeps nothing, cannot know.
 */

"use strict";

(function () {
    const EVERY = 2000;                 // ms
    const PATIENCE = 10000;             // ms, for one answer

    const box = document.getElementById("refresh");
    const words = document.createElement("span");
    const button = document.createElement("button");
    let seen = new Map();               // key -> bytes, at the time below
    let seenAt = 0;
    let paused = false;
    let timer = 0;

    function scaled(number, unit) {
        const prefixes = ["", "k", "M", "G", "T", "P"];
        let i = 0;
        while (number >= 999.95 && i < prefixes.length - 1) {
            number /= 1000;
            i++;
        }
        return number.toFixed(i && number < 99.95 ? 1 : 0) + " "
            + prefixes[i] + unit;
    }

    // Put rates in, in place of the kernel's estimates.
    function measure(main) {
        const now = Number(main.dataset.time);
        const counts = new Map();
        for (const cell of main.querySelectorAll("[data-bytes]")) {
            const key = cell.dataset.key;
            const bytes = Number(cell.dataset.bytes);
            counts.set(key, bytes);
            if (seen.has(key) && now > seenAt) {
                // a connection's bytes are less when a subflow has gone
                const more = Math.max(0, bytes - seen.get(key));
                cell.textContent = scaled(8000 * more / (now - seenAt), "bit/s");
            }
        }
        seen = counts;
        seenAt = now;
    }

    function identity(node) {
        return node.nodeType === Node.ELEMENT_NODE
            ? node.id || node.dataset.id || "" : "";
    }

    function alike(a, b) {
        return a.nodeType === b.nodeType && a.nodeName === b.nodeName
            && identity(a) === identity(b);
    }

    function takeAttributes(to, from) {
        for (const { name } of Array.from(to.attributes)) {
            if (!from.hasAttribute(name)) {
                to.removeAttribute(name);
            }
        }
        for (const { name, value } of from.attributes) {
            if (to.getAttribute(name) !== value) {
                to.setAttribute(name, value);
            }
        }
    }

    // Make TO what FROM is, with as few changes as there are differences.
    function take(to, from) {
        if (to.nodeType !== Node.ELEMENT_NODE) {
            if (to.nodeValue !== from.nodeValue) {
                to.nodeValue = from.nodeValue;
            }
            return;
        }
        takeAttributes(to, from);
        const known = new Map();
        for (const child of to.childNodes) {
            if (identity(child)) {
                known.set(identity(child), child);
            }
        }
        let at = to.firstChild;
        for (const wanted of Array.from(from.childNodes)) {
            const same = known.get(identity(wanted));
            if (same && same !== at && alike(same, wanted)) {
                to.insertBefore(same, at);
                take(same, wanted);
            } else if (at && alike(at, wanted)) {
                take(at, wanted);
                at = at.nextSibling;
            } else {
                to.insertBefore(document.importNode(wanted, true), at);
            }
        }
        while (at) {
            const next = at.nextSibling;
            at.remove();
            at = next;
        }
    }

    async function refresh() {
        const patience = new AbortController();
        const limit = setTimeout(() => patience.abort(), PATIENCE);
        try {
            const answer = await fetch(location.href, {
                cache: "no-store", signal: patience.signal
            });
            if (!answer.ok) {
                throw new Error("answer " + answer.status);
            }
            const page = new DOMParser().parseFromString(
                await answer.text(), "text/html");
            const main = page.querySelector("main");
            if (!main) {
                throw new Error("another page");
            }
            measure(main);
            take(document.querySelector("main"), main);
            take(document.querySelector("h1"), page.querySelector("h1"));
            document.title = page.title;
            say("every " + EVERY / 1000 + " s", false);
        } catch (error) {
            say("no answer since "
                + new Date(seenAt).toLocaleTimeString(), true);
        } finally {
            clearTimeout(limit);
        }
    }

    function say(text, late) {
        if (words.textContent !== text) {
            words.textContent = text;
        }
        box.classList.toggle("late", late);
    }

    // One request at a time, and none for a page that nobody sees.
    async function tick() {
        if (!paused && !document.hidden) {
            await refresh();
        }
        timer = setTimeout(tick, EVERY);
    }

    button.type = "button";
    button.textContent = "pause";
    button.addEventListener("click", function () {
        paused = !paused;
        button.textContent = paused ? "go on" : "pause";
        if (paused) {
            say("paused", false);
        }
    });
    document.addEventListener("visibilitychange", function () {
        if (!document.hidden && timer) {
            clearTimeout(timer);
            timer = 0;
            tick();
        }
    });

    box.append(words, button);
    say("every " + EVERY / 1000 + " s", false);
    measure(document.querySelector("main"));
    timer = setTimeout(tick, EVERY);
})();
