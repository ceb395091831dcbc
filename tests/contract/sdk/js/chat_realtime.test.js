// The browser build of @azure/communication-chat, unmodified, with real-time notifications (chat-realtime.md A).

import "./browser.js";
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { AzureCommunicationTokenCredential } from "@azure/communication-common";
import { CommunicationIdentityClient } from "@azure/communication-identity";
import { ChatClient } from "./node_modules/@azure/communication-chat/dist/browser/index.js";
import { connectionString, endpoint } from "./server.js";

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
const identity = new CommunicationIdentityClient(connectionString);
const started = [];

after(async () => {
  for (const user of started) await user.client.stopRealtimeNotifications();
  setTimeout(() => process.exit(), 500).unref(); // the client's own timers and jsdom's would keep the process
});

/** A user whose client listens to everything; `heard(name)` is the next event of that name. */
async function newUser(displayName) {
  const { user, token } = await identity.createUserAndToken(["chat"]);
  const client = new ChatClient(endpoint, new AzureCommunicationTokenCredential(token));
  const inbox = Object.fromEntries(EVENTS.map((name) => [name, []]));
  const waiting = [];
  const arrived = (name, event) => {
    inbox[name].push(event);
    waiting.splice(0).forEach((look) => look());
  };
  const heard = async (name) => {
    const end = AbortSignal.timeout(15_000);
    while (inbox[name].length === 0) {
      await new Promise((resolve, reject) => {
        end.onabort = () => reject(new Error(`${displayName} heard no ${name}`));
        waiting.push(resolve);
      });
    }
    return inbox[name].shift();
  };
  return { id: user, displayName, client, inbox, arrived, heard, token };
}

async function listening(displayName) {
  const user = await newUser(displayName);
  await user.client.startRealtimeNotifications();
  for (const name of Object.keys(user.inbox)) user.client.on(name, (event) => user.arrived(name, event));
  started.push(user);
  await user.heard("realTimeNotificationConnected");
  return user;
}

const raw = (user) => user.id.communicationUserId;
const member = (user) => ({ id: user.id, displayName: user.displayName });

test("all ten events come to who is in the thread", async () => {
  const [ann, bob] = await Promise.all([listening("Ann"), listening("Bob 100% é😀")]);
  const made = await ann.client.createChatThread(
    { topic: "Lunch é 100%" },
    {
      participants: [member(ann), member(bob)],
      metadata: { team: "red %41" },
      retentionPolicy: { kind: "threadCreationDate", deleteThreadAfterDays: 40 },
    },
  );
  const { id: threadId } = made.chatThread;
  const created = await bob.heard("chatThreadCreated");
  assert.equal(created.threadId, threadId);
  assert.equal(created.properties.topic, "Lunch é 100%");
  assert.deepEqual(created.properties.metadata, { team: "red %41" });
  assert.deepEqual(created.retentionPolicy, { kind: "threadCreationDate", deleteThreadAfterDays: 40 });
  assert.equal(created.createdBy.id.communicationUserId, raw(ann));
  assert.deepEqual(created.participants.map((each) => each.displayName).sort(), ["Ann", "Bob 100% é😀"]);
  assert.equal(created.createdOn.getTime(), made.chatThread.createdOn.getTime());

  const mine = ann.client.getChatThreadClient(threadId);
  const theirs = bob.client.getChatThreadClient(threadId);
  const attachments = [{ id: "1", attachmentType: "file", name: "menu.pdf", url: "https://files.example/menu.pdf" }];
  const { id } = await mine.sendMessage(
    { content: 'noon? "é😀" % 8:acs:recipient' },
    { senderDisplayName: "Ann", metadata: { deep: '{"a":1}' }, attachments },
  );
  for (const user of [ann, bob]) {
    const received = await user.heard("chatMessageReceived");
    assert.equal(received.id, id);
    assert.equal(received.threadId, threadId);
    assert.equal(received.message, 'noon? "é😀" % 8:acs:recipient');
    assert.equal(received.type, "Text");
    assert.equal(received.sender.communicationUserId, raw(ann));
    assert.equal(received.senderDisplayName, "Ann");
    assert.equal(received.recipient.communicationUserId, raw(user));
    assert.deepEqual(received.metadata, { deep: '{"a":1}' });
    const stored = await mine.getMessage(id);
    assert.equal(received.createdOn.getTime(), stored.createdOn.getTime());
    assert.equal(received.version, stored.version);
  }

  await mine.updateMessage(id, { content: "one?" });
  const edited = await bob.heard("chatMessageEdited");
  assert.equal(edited.id, id);
  assert.equal(edited.message, "one?");
  assert.equal(edited.editedOn.getTime(), (await mine.getMessage(id)).editedOn.getTime());

  await theirs.sendTypingNotification({ senderDisplayName: "Bob" });
  const typing = await ann.heard("typingIndicatorReceived");
  assert.equal(typing.sender.communicationUserId, raw(bob));
  assert.equal(typing.senderDisplayName, "Bob");
  assert.equal(typing.recipient.communicationUserId, raw(ann));
  assert.ok(Math.abs(typing.receivedOn.getTime() - Date.now()) < 60_000);
  const own = await bob.heard("typingIndicatorReceived"); // as the SDK's own realtimeNotifications.spec.ts expects
  assert.equal(own.sender.communicationUserId, raw(bob));

  await theirs.sendReadReceipt({ chatMessageId: id });
  const receipt = await ann.heard("readReceiptReceived");
  assert.equal(receipt.chatMessageId, id);
  assert.equal(receipt.threadId, threadId);
  assert.equal(receipt.sender.communicationUserId, raw(bob));
  assert.ok(Math.abs(receipt.readOn.getTime() - Date.now()) < 60_000);

  await mine.deleteMessage(id);
  const deleted = await bob.heard("chatMessageDeleted");
  assert.equal(deleted.id, id);
  assert.equal(deleted.deletedOn.getTime(), (await mine.getMessage(id)).deletedOn.getTime());

  await mine.updateProperties({ topic: "Dinner", retentionPolicy: { kind: "none" } });
  const updated = await bob.heard("chatThreadPropertiesUpdated");
  assert.equal(updated.properties.topic, "Dinner");
  assert.equal(updated.updatedBy.id.communicationUserId, raw(ann));
  assert.equal(updated.retentionPolicy.kind, "none");

  const { user: cem } = await identity.createUserAndToken(["chat"]);
  const shareHistoryTime = new Date("2026-01-02T03:04:05Z");
  const guest = { id: cem, displayName: "Cem", metadata: { a: "b" }, shareHistoryTime };
  await mine.addParticipants({ participants: [guest] });
  const added = await bob.heard("participantsAdded");
  assert.equal(added.addedBy.id.communicationUserId, raw(ann));
  const { communicationUserId } = cem;
  assert.deepEqual(added.participantsAdded, [{ ...guest, id: { kind: "communicationUser", communicationUserId } }]);
  await mine.removeParticipant(cem);
  const removed = await bob.heard("participantsRemoved");
  assert.equal(removed.participantsRemoved[0].id.communicationUserId, cem.communicationUserId);
  assert.equal(removed.removedBy.id.communicationUserId, raw(ann));

  await ann.client.deleteChatThread(threadId);
  const gone = await bob.heard("chatThreadDeleted");
  assert.equal(gone.threadId, threadId);
  assert.equal(gone.reason, "deletedByUser");
  assert.equal(gone.deletedBy.id.communicationUserId, raw(ann));

  assert.deepEqual(bob.inbox.readReceiptReceived, []);
});

test("who was removed hears of it, and nothing later", async () => {
  const [ann, bob] = await Promise.all([listening("Ann"), listening("Bob")]);
  const made = await ann.client.createChatThread({ topic: "x" }, { participants: [member(bob)] });
  const thread = ann.client.getChatThreadClient(made.chatThread.id);
  await bob.heard("chatThreadCreated");
  await thread.removeParticipant(bob.id);
  await bob.heard("participantsRemoved");
  await thread.sendMessage({ content: "he is gone" });
  await ann.heard("chatMessageReceived");
  const other = await ann.client.createChatThread({ topic: "y" }, { participants: [member(bob)] });
  assert.equal((await bob.heard("chatThreadCreated")).threadId, other.chatThread.id);
  assert.deepEqual(bob.inbox.chatMessageReceived, []);
});

test("many messages come in their order", async () => {
  const [ann, bob] = await Promise.all([listening("Ann"), listening("Bob")]);
  const made = await ann.client.createChatThread({ topic: "x" }, { participants: [member(bob)] });
  const thread = ann.client.getChatThreadClient(made.chatThread.id);
  const sent = await Promise.all([...Array(40).keys()].map((each) => thread.sendMessage({ content: `${each}` })));
  const ids = sent.map((each) => each.id);
  const found = [];
  while (found.length < 40) found.push((await bob.heard("chatMessageReceived")).id);
  assert.deepEqual(found, ids.sort((one, other) => one - other));
});

test("a token that is revoked ends its connection", async () => {
  const ann = await listening("Ann");
  await identity.revokeTokens(ann.id);
  await ann.heard("realTimeNotificationDisconnected");
});

test("a token that was revoked before starts nothing", async () => {
  const ann = await newUser("Ann");
  await identity.revokeTokens(ann.id);
  await assert.rejects(() => ann.client.startRealtimeNotifications());
});

test("a browser that gets no WebSocket through polls", async () => {
  const { WebSocket } = globalThis;
  for (const place of [globalThis, window]) delete place.WebSocket;
  try {
    const bob = await listening("Bob");
    const ann = await newUser("Ann");
    const made = await ann.client.createChatThread({ topic: "x" }, { participants: [member(bob)] });
    const thread = ann.client.getChatThreadClient(made.chatThread.id);
    assert.equal((await bob.heard("chatThreadCreated")).threadId, made.chatThread.id);
    await Promise.all(["1", "2 é😀", "3"].map((content) => thread.sendMessage({ content })));
    const texts = [];
    while (texts.length < 3) texts.push((await bob.heard("chatMessageReceived")).message);
    assert.deepEqual(texts.sort(), ["1", "2 é😀", "3"]);
  } finally {
    for (const place of [globalThis, window]) place.WebSocket = WebSocket;
  }
});
