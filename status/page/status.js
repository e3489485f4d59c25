/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Keeps the status page up to date: fetches it anew and takes over what is
 * different, so that nothing flickers, selections stay, and what is looked at
 * stays where it is.  Rates are then those between two fetches, and each path
 * gets a line of its last minutes: the server, which keeps nothing, cannot
 * know either.
 */

"use strict";

(function () {
    const EVERY = 2000;                 // ms
    const PATIENCE = 10000;             // ms, for one answer
    const MINUTES = 5;                  // of a path's line
    const STORE = "mptcp-status";       // what links on the page do not lose

    const box = document.getElementById("refresh");
    const words = document.createElement("span");
    const button = document.createElement("button");
    let seen = new Map();               // key -> bytes, at the time below
    let seenAt = 0;
    let lines = new Map();              // key of a path -> [[ms, bytes/s]...]
    let paused = false;
    let timer = 0;

    // As scaled() of status/html.c.
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
            // less than there was: a subflow or connection has gone, and how
            // much it had sent is not known; then the estimate stays
            if (seen.has(key) && now > seenAt && bytes >= seen.get(key)) {
                cell.dataset.rate = 1000 * (bytes - seen.get(key))
                    / (now - seenAt);
                cell.textContent = scaled(8 * cell.dataset.rate, "bit/s");
            }
            if (cell.dataset.line !== undefined) {
                remember(key, now, Number(cell.dataset.rate));
            }
        }
        seen = counts;
        seenAt = now;
        drawLines(main, now);
    }

    function remember(key, now, rate) {
        const line = lines.get(key) || [];
        if (line.length && line[line.length - 1][0] >= now) {
            return;                     // a page of before, from the cache
        }
        line.push([now, Math.round(rate)]);
        while (line[0][0] < now - MINUTES * 60000) {
            line.shift();
        }
        lines.set(key, line);
    }

    // All lines have one scale, so that they can be compared.
    function drawLines(main, now) {
        const start = now - MINUTES * 60000;
        let most = 1;
        for (const line of lines.values()) {
            for (const point of line) {
                most = Math.max(most, point[1]);
            }
        }
        for (const cell of main.querySelectorAll("td.spark")) {
            const line = lines.get(cell.dataset.of) || [];
            const points = line.map(([at, rate]) =>
                ((at - start) / (MINUTES * 600)).toFixed(1) + ","
                + (19 - 18 * rate / most).toFixed(1));
            const drawing = cell.querySelector("polyline");
            const top = Math.max(0, ...line.map(([, rate]) => rate));
            drawing.setAttribute("points", points.join(" "));
            cell.querySelector("title").textContent = "the last "
                + MINUTES + " minutes, at most " + scaled(8 * top, "bit/s");
        }
    }

    // A link on the page is another page: it goes on where this one was.
    function keep() {
        try {
            sessionStorage.setItem(STORE, JSON.stringify({
                path: location.pathname, seenAt, seen: Array.from(seen),
                lines: Array.from(lines)
            }));
        } catch (error) {
            // no room, or not allowed: then it begins anew
        }
    }

    function recall() {
        try {
            const kept = JSON.parse(sessionStorage.getItem(STORE));
            if (kept && kept.path === location.pathname) {
                seen = new Map(kept.seen);
                seenAt = kept.seenAt;
                lines = new Map(kept.lines);
            }
        } catch (error) {
            // as above
        }
    }

    function identity(node) {
        return node.nodeType === Node.ELEMENT_NODE
            ? node.id || node.dataset.id || "" : "";
    }

    function alike(a, b) {
        return a.nodeType === b.nodeType && a.nodeName === b.nodeName
            && identity(a) === identity(b);
    }

    // What is open or closed is the reader's.
    function isReaders(node, name) {
        return node.nodeName === "DETAILS" && name === "open";
    }

    function takeAttributes(to, from) {
        for (const { name } of Array.from(to.attributes)) {
            if (!from.hasAttribute(name) && !isReaders(to, name)) {
                to.removeAttribute(name);
            }
        }
        for (const { name, value } of from.attributes) {
            if (to.getAttribute(name) !== value && !isReaders(to, name)) {
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

    function takePage(page) {
        const focused = document.activeElement;
        const icon = page.querySelector("link[rel=icon]");
        take(document.querySelector("main"), page.querySelector("main"));
        take(document.querySelector("h1"), page.querySelector("h1"));
        take(document.querySelector("link[rel=icon]"), icon);
        document.title = page.title;
        // a row that was moved has lost it
        if (focused && focused.isConnected
            && focused !== document.activeElement) {
            focused.focus({ preventScroll: true });
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
            takePage(page);
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
        say(paused ? "paused" : "every " + EVERY / 1000 + " s", false);
    });
    document.addEventListener("visibilitychange", function () {
        if (!document.hidden && timer) {
            clearTimeout(timer);
            timer = 0;
            tick();
        }
    });
    window.addEventListener("pagehide", keep);
    // The whole row opens it, not its first word alone.
    document.addEventListener("click", function (event) {
        const row = event.target.closest("tr.connection");
        if (row && !event.target.closest("summary, a")
            && !String(getSelection())) {
            const details = row.querySelector("details");
            details.open = !details.open;
        }
    });

    document.documentElement.classList.add("scripted");
    box.append(words, button);
    say("every " + EVERY / 1000 + " s", false);
    recall();
    measure(document.querySelector("main"));
    timer = setTimeout(tick, EVERY);
})();
