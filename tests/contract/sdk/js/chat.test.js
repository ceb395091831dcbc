// @azure/communication-chat over REST, unmodified, over TLS against a running server (acs-wire.md 7).

import assert from "node:assert/strict";
import { test } from "node:test";
import { AzureCommunicationTokenCredential } from "@azure/communication-common";
import { ChatClient } from "@azure/communication-chat";
import { CommunicationIdentityClient } from "@azure/communication-identity";
import { connectionString, endpoint } from "./server.js";

const identity = new CommunicationIdentityClient(connectionString);

async function newUser(...scopes) {
  const { user, token } = await identity.createUserAndToken(scopes.length ? scopes : ["chat"]);
  return { id: user, client: new ChatClient(endpoint, new AzureCommunicationTokenCredential(token)) };
}

async function newThread(owner, others, options) {
  const participants = others.map((other) => ({ id: other.id, displayName: "Somebody" }));
  const made = await owner.client.createChatThread({ topic: "Lunch" }, { participants, ...options });
  assert.equal(made.invalidParticipants, undefined);
  return made.chatThread;
}

async function every(pages) {
  const found = [];
  for await (const item of pages) found.push(item);
  return found;
}

const refused = (status) => (error) => error.statusCode === status;

test("a thread has a topic, metadata and a retention policy, which can be changed", async () => {
  const ann = await newUser();
  const retentionPolicy = { kind: "threadCreationDate", deleteThreadAfterDays: 40 };
  const made = await newThread(ann, [], { metadata: { team: "red", room: "1" }, retentionPolicy });
  assert.deepEqual(made.metadata, { team: "red", room: "1" });
  assert.deepEqual(made.retentionPolicy, retentionPolicy);
  assert.equal(made.createdBy.communicationUserId, ann.id.communicationUserId);
  const thread = ann.client.getChatThreadClient(made.id);
  await thread.updateProperties({ topic: "Dinner", metadata: { team: "blue" }, retentionPolicy: { kind: "none" } });
  const seen = await thread.getProperties();
  assert.equal(seen.topic, "Dinner");
  assert.deepEqual(seen.metadata, { team: "blue", room: "1" });
  assert.equal(seen.retentionPolicy.kind, "none");
  await thread.updateTopic("Supper");
  assert.equal((await thread.getProperties()).topic, "Supper");
});

for (const days of [29, 91]) {
  test(`a thread cannot be kept ${days} days`, async () => {
    const ann = await newUser();
    const retentionPolicy = { kind: "threadCreationDate", deleteThreadAfterDays: days };
    await assert.rejects(() => ann.client.createChatThread({ topic: "x" }, { retentionPolicy }), refused(400));
  });
}

test("participants have metadata, and are listed, added and removed", async () => {
  const [ann, bob, cem] = [await newUser(), await newUser(), await newUser()];
  const made = await newThread(ann, [bob]);
  const thread = ann.client.getChatThreadClient(made.id);
  const added = await thread.addParticipants({
    participants: [{ id: cem.id, displayName: "Cem", metadata: { role: "guest" } }],
  });
  assert.equal(added.invalidParticipants, undefined);
  const found = await every(thread.listParticipants({ maxPageSize: 1 }));
  assert.equal(found.length, 3);
  const guest = found.find((each) => each.id.communicationUserId === cem.id.communicationUserId);
  assert.deepEqual(guest.metadata, { role: "guest" });
  assert.ok(guest.shareHistoryTime instanceof Date);
  await thread.removeParticipant(cem.id);
  await assert.rejects(() => cem.client.getChatThreadClient(made.id).getProperties(), refused(403));
});

test("a thread that somebody was removed from is listed to them as it was then", async () => {
  const [ann, bob] = [await newUser(), await newUser()];
  const [left, staying] = [await newThread(ann, [bob]), await newThread(ann, [bob])];
  await ann.client.getChatThreadClient(left.id).removeParticipant(bob.id);
  await ann.client.getChatThreadClient(left.id).updateTopic("Without Bob");
  const listed = await every(bob.client.listChatThreads({ maxPageSize: 1 }));
  assert.deepEqual(listed.map((item) => item.id), [staying.id, left.id]);
  assert.equal(listed[1].topic, "Lunch");
  assert.ok(listed[1].lastMessageReceivedOn instanceof Date);
  await ann.client.deleteChatThread(left.id);
  assert.deepEqual((await every(bob.client.listChatThreads())).map((item) => item.id), [staying.id]);
});

test("a message is sent, read, listed over pages, edited and deleted", async () => {
  const [ann, bob] = [await newUser(), await newUser()];
  const made = await newThread(ann, [bob]);
  const mine = ann.client.getChatThreadClient(made.id);
  const theirs = bob.client.getChatThreadClient(made.id);
  const metadata = { fileSharingMetadata: "[]" };
  const { id } = await mine.sendMessage({ content: "hi" }, { senderDisplayName: "Ann", metadata });
  const read = await theirs.getMessage(id);
  assert.equal(read.content.message, "hi");
  assert.equal(read.sender.communicationUserId, ann.id.communicationUserId);
  assert.deepEqual(read.metadata, metadata);
  for (let number = 0; number < 7; number += 1) await theirs.sendMessage({ content: `${number}` });
  const listed = await every(mine.listMessages({ maxPageSize: 2 }));
  const sequence = listed.map((each) => Number(each.sequenceId));
  assert.deepEqual(sequence, [...sequence.keys()].map((at) => 10 - at));
  const since = await every(mine.listMessages({ maxPageSize: 2, startTime: read.createdOn }));
  assert.ok(since.some((each) => each.id === id));
  await mine.updateMessage(id, { content: "hello" });
  assert.equal((await theirs.getMessage(id)).content.message, "hello");
  await assert.rejects(() => theirs.updateMessage(id, { content: "mine now" }), refused(403));
  await assert.rejects(() => theirs.deleteMessage(id), refused(403));
  await mine.deleteMessage(id);
  const deleted = await theirs.getMessage(id);
  assert.ok(deleted.deletedOn instanceof Date);
  assert.deepEqual(deleted.content, { message: "" });
});

test("a message may be nothing but what is attached, as the UI library sends files nobody wrote anything to", async () => {
  const [ann, bob] = [await newUser(), await newUser()];
  const made = await newThread(ann, [bob]);
  const mine = ann.client.getChatThreadClient(made.id);
  const theirs = bob.client.getChatThreadClient(made.id);
  const metadata = { fileSharingMetadata: '[{"id":"1","name":"menu.pdf","url":"https://files.example/menu.pdf"}]' };
  const sent = await mine.sendMessage({ content: "" }, { metadata });
  const read = await theirs.getMessage(sent.id);
  assert.equal(read.content.message, "");
  assert.deepEqual(read.metadata, metadata);
  const { id } = await mine.sendMessage({ content: "The menu" }, { metadata });
  await mine.updateMessage(id, { content: "" });
  assert.equal((await theirs.getMessage(id)).content.message, "");
  await assert.rejects(() => mine.updateMessage(id, { content: "", metadata: { fileSharingMetadata: "" } }), refused(400));
  await assert.rejects(() => mine.sendMessage({ content: " " }), refused(400));
});

test("typing and reading are told", async () => {
  const [ann, bob] = [await newUser(), await newUser()];
  const made = await newThread(ann, [bob]);
  const mine = ann.client.getChatThreadClient(made.id);
  const theirs = bob.client.getChatThreadClient(made.id);
  assert.equal(await mine.sendTypingNotification(), true);
  const again = ann.client.getChatThreadClient(made.id); // a client that just told of typing does not ask the server again
  assert.equal(await again.sendTypingNotification({ senderDisplayName: "Ann" }), true);
  const { id } = await mine.sendMessage({ content: "hi" });
  await theirs.sendReadReceipt({ chatMessageId: id });
  const [receipt] = await every(mine.listReadReceipts({ maxPageSize: 1 }));
  assert.equal(receipt.chatMessageId, id);
  assert.equal(receipt.sender.communicationUserId, bob.id.communicationUserId);
  assert.ok(receipt.readOn instanceof Date);
});

test("threads are listed and deleted", async () => {
  const ann = await newUser();
  const made = [await newThread(ann, []), await newThread(ann, []), await newThread(ann, [])];
  const listed = await every(ann.client.listChatThreads({ maxPageSize: 1 }));
  assert.deepEqual(new Set(listed.map((each) => each.id)), new Set(made.map((each) => each.id)));
  await ann.client.deleteChatThread(made[0].id);
  assert.equal((await every(ann.client.listChatThreads())).length, 2);
  await assert.rejects(() => ann.client.getChatThreadClient(made[0].id).getProperties(), refused(404));
});

test("an idempotency token makes one thread", async () => {
  const ann = await newUser();
  const options = { idempotencyToken: `token-${Math.random()}` };
  const [first, again] = [
    await ann.client.createChatThread({ topic: "Lunch" }, options),
    await ann.client.createChatThread({ topic: "Lunch" }, options),
  ];
  assert.equal(first.chatThread.id, again.chatThread.id);
});

test("errors have a code and a message", async () => {
  const ann = await newUser();
  const thread = ann.client.getChatThreadClient("19:00000000000000000000000000000000@thread.v2");
  await assert.rejects(
    () => thread.sendMessage({ content: "hi" }),
    (error) => error.statusCode === 404 && error.code === "NotFound" && error.message.length > 0,
  );
});
