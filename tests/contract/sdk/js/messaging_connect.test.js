// messagingConnect of the beta @azure/communication-sms, against a server that has a carrier called infobip.

import assert from "node:assert/strict";
import { test } from "node:test";
import { SmsClient } from "@azure/communication-sms-beta";
import { connectionString, freshNumber, phoneNumber } from "./server.js";

const client = new SmsClient(connectionString);
const by = (partner) =>
  client.send(
    { from: phoneNumber, to: [freshNumber()], message: "By a partner" },
    { enableDeliveryReport: true, messagingConnect: { apiKey: "a-secret", partner } },
  );

test("a partner that is a carrier of the server is taken", async () => {
  assert.equal((await by("Infobip"))[0].httpStatusCode, 202);
});

test("so is one that the application is used to", async () => {
  assert.equal((await by("sinch"))[0].httpStatusCode, 202);
});
