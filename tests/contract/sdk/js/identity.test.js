// @azure/communication-identity and -common, unmodified, over TLS against a running server (acs-wire.md 5).

import assert from "node:assert/strict";
import { test } from "node:test";
import { AzureCommunicationTokenCredential, getIdentifierKind, parseConnectionString } from "@azure/communication-common";
import { CommunicationIdentityClient } from "@azure/communication-identity";
import { AzureKeyCredential } from "@azure/core-auth";
import { claims, connectionString, endpoint, accessKey } from "./server.js";

const client = new CommunicationIdentityClient(connectionString);

test("the connection string is one the SDK can parse", () => {
  const parsed = parseConnectionString(connectionString);
  assert.equal(parsed.endpoint, endpoint);
  assert.equal(parsed.credential.key, accessKey);
});

test("a user can be created with a key in place of the connection string", async () => {
  const byKey = new CommunicationIdentityClient(endpoint, new AzureKeyCredential(accessKey));
  const user = await byKey.createUser();
  assert.match(user.communicationUserId, /^8:acs:[0-9a-f-]{36}_[0-9a-f-]{36}$/);
  assert.equal(getIdentifierKind(user).kind, "communicationUser");
});

test("a user and a token can be created at once", async () => {
  const { user, token, expiresOn } = await client.createUserAndToken(["chat", "voip"]);
  const found = claims(token);
  assert.equal(`8:${found.skypeid}`, user.communicationUserId);
  assert.deepEqual(new Set(found.acsScope.split(",")), new Set(["chat", "voip"]));
  assert.equal(found.exp, Math.floor(expiresOn.getTime() / 1000));
});

for (const scope of ["chat", "voip", "chat.join", "chat.join.limited", "voip.join"]) {
  test(`a token of scope ${scope} can be had`, async () => {
    const user = await client.createUser();
    const { token } = await client.getToken(user, [scope]);
    assert.equal(claims(token).acsScope, scope);
  });
}

for (const minutes of [60, 1440]) {
  test(`a token can live ${minutes} minutes`, async () => {
    const { token } = await client.createUserAndToken(["chat"], { tokenExpiresInMinutes: minutes });
    assert.equal(claims(token).exp - claims(token).iat, minutes * 60);
  });
}

for (const minutes of [59, 1441]) {
  test(`a token cannot live ${minutes} minutes`, async () => {
    const user = await client.createUser();
    const wanted = { tokenExpiresInMinutes: minutes };
    for (const call of [() => client.getToken(user, ["chat"], wanted), () => client.createUserAndToken(["chat"], wanted)]) {
      await assert.rejects(call, (error) => error.statusCode === 400 && error.details.error.message.length > 0);
    }
  });
}

test("tokens can be revoked, and a new one had", async () => {
  const { user } = await client.createUserAndToken(["chat"]);
  await client.revokeTokens(user);
  assert.ok((await client.getToken(user, ["chat"])).token);
});

test("a deleted user is gone", async () => {
  const user = await client.createUser();
  await client.deleteUser(user);
  await assert.rejects(
    () => client.getToken(user, ["chat"]),
    (error) => [400, 403, 404].includes(error.statusCode),
  );
});

test("a Teams token exchange says that it needs Entra", async () => {
  const options = { teamsUserAadToken: "a.b.c", clientId: "a-client", userObjectId: "an-object" };
  await assert.rejects(
    () => client.getTokenForTeamsUser(options),
    (error) => error.statusCode >= 400 && /Entra/.test(error.message),
  );
});

test("a wrong key is refused", async () => {
  const wrong = new CommunicationIdentityClient(
    endpoint,
    new AzureKeyCredential(Buffer.from("not the key of this resource....").toString("base64")),
  );
  await assert.rejects(() => wrong.createUser(), (error) => error.statusCode === 401);
});

test("the token credential of the chat and calling clients reads our tokens", async () => {
  const { token, expiresOn } = await client.createUserAndToken(["chat"]);
  const credential = new AzureCommunicationTokenCredential(token);
  const read = await credential.getToken();
  assert.equal(read.token, token);
  assert.equal(Math.floor(read.expiresOnTimestamp / 1000), Math.floor(expiresOn.getTime() / 1000));
  credential.dispose();
});
