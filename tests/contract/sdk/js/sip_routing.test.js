// SipRoutingClient of @azure/communication-phone-numbers, unmodified, over TLS against a running server (acs-wire.md 6).

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { SipRoutingClient } from "@azure/communication-phone-numbers";
import { connectionString } from "./server.js";

const client = new SipRoutingClient(connectionString);
const [first, second] = ["js1.example.org", "js2.example.org"];

async function all(pages) {
  const found = [];
  for await (const item of pages) found.push(item);
  return found;
}

beforeEach(async () => {
  await client.setRoutes([]);
  await client.setTrunks([]);
});

test("trunks are set, read, changed and deleted", async () => {
  await client.setTrunks([
    { fqdn: first, sipSignalingPort: 5061 },
    { fqdn: second, sipSignalingPort: 5062 },
  ]);
  await client.setTrunk({ fqdn: first, sipSignalingPort: 5071 });
  assert.equal((await client.getTrunk(first)).sipSignalingPort, 5071);
  await client.deleteTrunk(first);
  await client.deleteTrunk("never.example.org");
  assert.deepEqual((await all(client.listTrunks())).map((trunk) => trunk.fqdn), [second]);
  await assert.rejects(() => client.getTrunk(first), (error) => error.code === "NotFound");
});

test("routes keep their order and are replaced whole", async () => {
  await client.setTrunks([{ fqdn: first, sipSignalingPort: 5061 }]);
  const routes = [
    { name: "b", numberPattern: "^\\+1(425|206)(\\d{7})$", trunks: [first], description: "Washington" },
    { name: "a", numberPattern: "^+[1-9][0-9]{3,23}$", trunks: [] },
  ];
  const answered = await client.setRoutes(routes);
  assert.deepEqual(answered.map((route) => route.name), ["b", "a"]);
  assert.deepEqual((await all(client.listRoutes())).map((route) => route.trunks), [[first], []]);
  await client.setRoutes([]);
  assert.deepEqual(await all(client.listRoutes()), []);
});

test("a trunk in use cannot go", async () => {
  await client.setTrunks([{ fqdn: first, sipSignalingPort: 5061 }]);
  await client.setRoutes([{ name: "all", numberPattern: ".*", trunks: [first] }]);
  await assert.rejects(
    () => client.deleteTrunk(first),
    (error) => error.statusCode === 422 && error.code === "UnprocessableConfiguration",
  );
});

for (const [what, call] of [
  ["a trunk without a name of a host", () => client.setTrunk({ fqdn: "-1", sipSignalingPort: 8239 })],
  ["port 0", () => client.setTrunk({ fqdn: first, sipSignalingPort: 0 })],
  ["a route without a name", () => client.setRoutes([{ name: "", numberPattern: "1" }])],
  ["an unsafe pattern", () => client.setRoutes([{ name: "r", numberPattern: "(\\d)\\1" }])],
  ["a route to nowhere", () => client.setRoutes([{ name: "r", numberPattern: "1", trunks: ["no.example.org"] }])],
  ["two routes of one name", () => client.setRoutes([{ name: "r", numberPattern: "1" }, { name: "r", numberPattern: "2" }])],
]) {
  test(`${what} is refused`, async () => {
    await assert.rejects(call, (error) => error.code === "UnprocessableConfiguration" && [400, 422].includes(error.statusCode));
  });
}
