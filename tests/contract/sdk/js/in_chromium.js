// The official chat client in a real browser: what a page of test_js_chromium.py can do, bundled with the client.

import { ChatClient } from "@azure/communication-chat";
import { AzureCommunicationTokenCredential } from "@azure/communication-common";

const EVENTS = [
  "chatMessageReceived",
  "chatMessageEdited",
  "chatMessageDeleted",
  "typingIndicatorReceived",
  "readReceiptReceived",
  "chatThreadCreated",
  "chatThreadDeleted",
  "chatThreadPropertiesUpdated",
  "participantsAdded",
  "participantsRemoved",
  "realTimeNotificationConnected",
  "realTimeNotificationDisconnected",
];
const arrived = Object.fromEntries(EVENTS.map((name) => [name, []]));
const waiting = Object.fromEntries(EVENTS.map((name) => [name, []]));

async function listen(endpoint, token) {
  const client = new ChatClient(endpoint, new AzureCommunicationTokenCredential(token));
  await client.startRealtimeNotifications();
  for (const name of EVENTS) {
    client.on(name, (event) => (waiting[name].length ? waiting[name].shift()(event) : arrived[name].push(event)));
  }
  globalThis.client = client;
  await heard("realTimeNotificationConnected");
}

/** The next event of that name. */
async function heard(name) {
  return arrived[name].length ? arrived[name].shift() : new Promise((resolve) => waiting[name].push(resolve));
}

Object.assign(globalThis, { listen, heard });
