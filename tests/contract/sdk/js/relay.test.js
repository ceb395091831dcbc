// @azure/communication-network-traversal, unmodified, over TLS against a running server (acs-wire.md 8).

import assert from "node:assert/strict";
import { test } from "node:test";
import { CommunicationIdentityClient } from "@azure/communication-identity";
import { CommunicationRelayClient } from "@azure/communication-network-traversal";
import { connectionString } from "./server.js";

const client = new CommunicationRelayClient(connectionString);

test("a configuration has what RTCPeerConnection takes", async () => {
  const { expiresOn, iceServers } = await client.getRelayConfiguration();
  assert.deepEqual(iceServers.map((server) => server.routeType), ["any", "nearest"]);
  assert.ok(iceServers[0].urls.every((url) => /^(stun|turns?):/.test(url)));
  assert.equal(Number(iceServers[0].username.split(":")[0]) * 1000, expiresOn.getTime());
  assert.ok(iceServers[0].credential.length > 20);
});

test("it can be for a user", async () => {
  const user = await new CommunicationIdentityClient(connectionString).createUser();
  const { iceServers } = await client.getRelayConfiguration({ id: user.communicationUserId });
  assert.ok(iceServers[0].username.endsWith(`:${user.communicationUserId}`));
});

test("route type and life are the ones asked for", async () => {
  const { expiresOn, iceServers } = await client.getRelayConfiguration({ routeType: "nearest", ttl: 60 });
  assert.equal(iceServers[0].routeType, "nearest");
  assert.ok(Math.abs(expiresOn.getTime() - Date.now() - 60_000) < 30_000);
});

test("a life that cannot be is refused", async () => {
  await assert.rejects(() => client.getRelayConfiguration({ ttl: 172_801 }), (error) => error.statusCode === 400);
});
