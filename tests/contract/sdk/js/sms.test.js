// @azure/communication-sms, the stable one and the beta that has opt-outs, over TLS against a running server.

import assert from "node:assert/strict";
import { test } from "node:test";
import { SmsClient } from "@azure/communication-sms";
import { SmsClient as BetaSmsClient } from "@azure/communication-sms-beta";
import { AzureKeyCredential } from "@azure/core-auth";
import { accessKey, connectionString, endpoint, freshNumber, handsetInbox, phoneNumber } from "./server.js";

const beta = new BetaSmsClient(connectionString);

for (const [name, client] of [
  ["the stable client", new SmsClient(connectionString)],
  ["the stable client by key", new SmsClient(endpoint, new AzureKeyCredential(accessKey))],
  ["the beta client", beta],
]) {
  test(`${name} sends a text that arrives`, async () => {
    const to = freshNumber();
    const sent = await client.send({ from: phoneNumber, to: [to], message: "Hello from JavaScript ✓" });
    assert.equal(sent.length, 1);
    assert.equal(sent[0].to, to);
    assert.equal(sent[0].httpStatusCode, 202);
    assert.equal(sent[0].successful, true);
    assert.ok(sent[0].messageId);
    assert.equal(sent[0].repeatabilityResult ?? "accepted", "accepted");
    const inbox = await handsetInbox(to);
    assert.deepEqual(inbox.map((text) => text.text), ["Hello from JavaScript ✓"]);
  });

  test(`${name} is told what is wrong with a message of 2049 characters`, async () => {
    await assert.rejects(
      () => client.send({ from: phoneNumber, to: [freshNumber()], message: "x".repeat(2049) }),
      (error) => error.statusCode === 400,
    );
  });

  test(`${name} may not send from a number that is not its own`, async () => {
    await assert.rejects(
      () => client.send({ from: "+18005559999", to: [freshNumber()], message: "x" }),
      (error) => error.statusCode === 401,
    );
  });
}

test("100 recipients in one request are 100 messages", async () => {
  const to = Array.from({ length: 100 }, freshNumber);
  const sent = await beta.send({ from: phoneNumber, to, message: "All" }, { enableDeliveryReport: true, tag: "all" });
  assert.deepEqual(sent.map((one) => one.to), to);
  assert.equal(new Set(sent.map((one) => one.messageId)).size, 100);
});

test("opt-outs are added, checked and removed", async () => {
  const [to, other] = [freshNumber(), freshNumber()];
  const check = async () => (await beta.optOuts.check(phoneNumber, [to, other])).map((one) => one.isOptedOut);
  assert.deepEqual(await check(), [false, false]);
  const added = await beta.optOuts.add(phoneNumber, [to]);
  assert.deepEqual([added[0].to, added[0].httpStatusCode], [to, 200]);
  assert.deepEqual(await check(), [true, false]);
  await beta.optOuts.remove(phoneNumber, [to]);
  assert.deepEqual(await check(), [false, false]);
});

test("opt-outs of a number that is not ours are refused", async () => {
  await assert.rejects(() => beta.optOuts.check("+18005559999", [freshNumber()]), (error) => error.statusCode === 401);
});
