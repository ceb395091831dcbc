// @azure/communication-rooms, unmodified, over TLS against a running server (acs-wire.md 8).

import assert from "node:assert/strict";
import { test } from "node:test";
import { CommunicationIdentityClient } from "@azure/communication-identity";
import { RoomsClient } from "@azure/communication-rooms";
import { connectionString } from "./server.js";

const client = new RoomsClient(connectionString);
const identity = new CommunicationIdentityClient(connectionString);
const DAY_MS = 24 * 3600 * 1000;

async function all(pages) {
  const found = [];
  for await (const item of pages) found.push(item);
  return found;
}

async function roles(roomId) {
  const found = await all(client.listParticipants(roomId));
  return Object.fromEntries(found.map((one) => [one.id.communicationUserId, one.role]));
}

test("a room is made, read, changed, listed and deleted", async () => {
  const validUntil = new Date(Date.now() + 30 * DAY_MS);
  const room = await client.createRoom({ validUntil, pstnDialOutEnabled: true });
  assert.match(room.id, /^99\d{15}$/);
  assert.equal(room.validUntil.getTime(), validUntil.getTime());
  assert.equal((await client.getRoom(room.id)).pstnDialOutEnabled, true);
  const changed = await client.updateRoom(room.id, { pstnDialOutEnabled: false });
  assert.equal(changed.pstnDialOutEnabled, false);
  assert.equal(changed.validUntil.getTime(), validUntil.getTime());
  assert.ok((await all(client.listRooms())).some((one) => one.id === room.id));
  await client.deleteRoom(room.id);
  await assert.rejects(() => client.getRoom(room.id), (error) => error.statusCode === 404);
});

test("lists longer than a page are followed", async () => {
  const made = [];
  for (let at = 0; at < 101; at += 1) made.push((await client.createRoom()).id);
  const found = new Set((await all(client.listRooms())).map((room) => room.id));
  assert.deepEqual(made.filter((id) => !found.has(id)), []);
});

test("participants are invited, changed and removed", async () => {
  const [first, second] = [await identity.createUser(), await identity.createUser()];
  const room = await client.createRoom({ participants: [{ id: first, role: "Presenter" }] });
  await client.addOrUpdateParticipants(room.id, [{ id: first, role: "Collaborator" }, { id: second }]);
  assert.deepEqual(await roles(room.id), {
    [first.communicationUserId]: "Collaborator",
    [second.communicationUserId]: "Attendee",
  });
  await client.removeParticipants(room.id, [first]);
  await client.removeParticipants(room.id, [first]);
  assert.deepEqual(Object.keys(await roles(room.id)), [second.communicationUserId]);
});

for (const [what, call] of [
  ["an end in the past", () => client.createRoom({ validUntil: new Date(Date.now() - DAY_MS) })],
  ["more than 180 days", () => client.createRoom({ validUntil: new Date(Date.now() + 200 * DAY_MS) })],
  ["an id that is none", () => client.createRoom({ participants: [{ id: { communicationUserId: "invalid MRI" } }] })],
  ["a room id that is none", () => client.getRoom("non-existingroomId")],
]) {
  test(`${what} is refused`, async () => {
    await assert.rejects(call, (error) => error.statusCode === 400 && error.code === "BadRequest");
  });
}
