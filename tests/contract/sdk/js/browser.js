// The browser builds of the SDKs want a page around them: a window of jsdom, whose own network they use.

import { JSDOM } from "jsdom";

const { window } = new JSDOM("<!doctype html><title>chat</title>", {
  url: process.env.LANDLINE_PAGE_URL ?? "https://localhost:8443/",
  pretendToBeVisual: true,
});

const lent = ["window", "document", "location", "navigator", "WebSocket", "XMLHttpRequest", "localStorage"];
for (const name of lent) {
  const value = name === "window" ? window : window[name];
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
}
globalThis.self = window;
