// @azure/communication-phone-numbers, unmodified, over TLS against a running server (acs-wire.md 6).

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { PhoneNumbersClient } from "@azure/communication-phone-numbers";
import { SmsClient } from "@azure/communication-sms";
import { AzureKeyCredential } from "@azure/core-auth";
import { accessKey, connectionString, endpoint, freshNumber } from "./server.js";

const client = new PhoneNumbersClient(connectionString);
const texting = { calling: "none", sms: "inbound+outbound" };
const tollFree = {
  countryCode: "US",
  phoneNumberType: "tollFree",
  assignmentType: "application",
  capabilities: texting,
};

async function all(pages) {
  const found = [];
  for await (const each of pages) found.push(each);
  return found;
}

async function search(request, by = client) {
  const poller = await by.beginSearchAvailablePhoneNumbers(request);
  const found = await poller.pollUntilDone();
  assert.ok(poller.getOperationState().isCompleted);
  return found;
}

for (const [name, by] of [
  ["a connection string", client],
  ["a key", new PhoneNumbersClient(endpoint, new AzureKeyCredential(accessKey))],
]) {
  test(`with ${name} a number is searched, bought, shown and released`, async () => {
    const found = await search(tollFree, by);
    assert.equal(found.phoneNumbers.length, 1);
    assert.equal(found.cost.currencyCode, "USD");
    assert.ok(found.searchExpiresBy instanceof Date);
    const purchase = await by.beginPurchasePhoneNumbers(found.searchId);
    await purchase.pollUntilDone();
    assert.ok(purchase.getOperationState().isCompleted);
    const [number] = found.phoneNumbers;
    assert.equal((await by.getPurchasedPhoneNumber(number)).phoneNumber, number);
    const release = await by.beginReleasePhoneNumber(number);
    await release.pollUntilDone();
    assert.equal(release.getOperationState().result.body.status, "succeeded");
    await assert.rejects(() => by.getPurchasedPhoneNumber(number), (error) => error.statusCode === 404);
  });
}

test("capabilities change and hold at once", async () => {
  const found = await search(tollFree);
  await (await client.beginPurchasePhoneNumbers(found.searchId)).pollUntilDone();
  const [number] = found.phoneNumbers;
  const update = await client.beginUpdatePhoneNumberCapabilities(number, { sms: "inbound", calling: "outbound" });
  assert.deepEqual((await update.pollUntilDone()).capabilities, { sms: "inbound", calling: "outbound" });
  const sms = new SmsClient(connectionString);
  await assert.rejects(
    () => sms.send({ from: number, to: [freshNumber()], message: "x" }),
    (error) => error.statusCode === 403,
  );
});

test("what is wrong with a request is told", async () => {
  const refused = (code) => (error) => error.statusCode === code && error.message.length > 0;
  await assert.rejects(() => search({ ...tollFree, assignmentType: "person" }), refused(400));
  await assert.rejects(() => search({ ...tollFree, countryCode: "INVALID" }), refused(400));
  await assert.rejects(() => client.beginPurchasePhoneNumbers(randomUUID()), refused(404));
  await assert.rejects(() => client.beginUpdatePhoneNumberCapabilities("+14155550199", texting), refused(404));
  await assert.rejects(() => client.browseAvailablePhoneNumbers({ countryCode: "XX", phoneNumberType: "x" }), refused(400));
  const numbers = [freshNumber(), freshNumber()];
  await assert.rejects(
    () => client.searchOperatorInformation(numbers),
    (error) => error.code === "BadRequest" && error.message === "Can only accept one phoneNumber",
  );
});

test("a search without numbers fails", async () => {
  const request = { ...tollFree, phoneNumberType: "geographic", areaCode: "999" };
  await assert.rejects(() => search(request), /OutOfStock|available/);
});

test("browsed numbers are reserved, changed and bought", async () => {
  const request = { countryCode: "US", phoneNumberType: "tollFree" };
  const options = { capabilities: { calling: "outbound" }, assignmentType: "application" };
  const { phoneNumbers } = await client.browseAvailablePhoneNumbers(request, options);
  const [first, second] = phoneNumbers;
  const reservationId = randomUUID();
  const made = await client.createOrUpdateReservation({ reservationId }, { add: [first] });
  assert.equal(made.status, "active");
  assert.deepEqual(Object.keys(made.phoneNumbers), [first.id]);
  const changed = await client.createOrUpdateReservation({ reservationId }, { add: [first, second], remove: [first.id] });
  assert.deepEqual(Object.keys(changed.phoneNumbers), [second.id]);
  assert.ok((await all(client.listReservations({ maxPageSize: 1 }))).some((each) => each.id === reservationId));
  const purchase = await client.beginReservationPurchase(reservationId);
  await purchase.pollUntilDone();
  assert.ok(purchase.getOperationState().isCompleted);
  assert.equal((await client.getReservation(reservationId)).status, "completed");
  assert.equal((await client.getPurchasedPhoneNumber(second.phoneNumber)).id, second.id);
});

test("numbers not to be resold need the agreement", async () => {
  const request = { countryCode: "FR", phoneNumberType: "tollFree" };
  const { phoneNumbers } = await client.browseAvailablePhoneNumbers(request, { capabilities: { calling: "outbound" } });
  const reservationId = randomUUID();
  await client.createOrUpdateReservation({ reservationId }, { add: [phoneNumbers[0]] });
  await assert.rejects(
    () => client.beginReservationPurchase(reservationId, { agreeToNotResell: false }),
    (error) => error.statusCode === 400,
  );
  await client.deleteReservation(reservationId);
  await assert.rejects(() => client.getReservation(reservationId), (error) => error.statusCode === 404);
});

test("lists come page by page", async () => {
  await (await client.beginPurchasePhoneNumbers((await search({ ...tollFree, quantity: 4 })).searchId)).pollUntilDone();
  const whole = (await all(client.listPurchasedPhoneNumbers())).map((each) => each.phoneNumber);
  const pages = (await all(client.listPurchasedPhoneNumbers({ top: 3 }))).map((each) => each.phoneNumber);
  assert.deepEqual(pages, whole);
  const countries = (await all(client.listAvailableCountries({ maxPageSize: 3 }))).map((each) => each.countryCode);
  assert.ok(countries.includes("US") && countries.includes("IE"));
  const towns = await all(client.listAvailableLocalities("US", { administrativeDivision: "NY", maxPageSize: 1 }));
  assert.deepEqual(towns.map((each) => each.localizedName), ["New York"]);
  const codes = await all(client.listAvailableGeographicAreaCodes("US", { locality: "New York", administrativeDivision: "NY" }));
  assert.deepEqual(codes.map((each) => each.areaCode), ["212"]);
  assert.ok((await all(client.listAvailableTollFreeAreaCodes("US"))).length > 3);
  assert.deepEqual((await all(client.listAvailableMobileAreaCodes("IE"))).map((each) => each.areaCode), ["85"]);
  assert.ok((await all(client.listAvailableOfferings("US", { maxPageSize: 1 }))).length >= 3);
});

test("a number is looked up", async () => {
  const { values } = await client.searchOperatorInformation(["+447400123456"], { includeAdditionalOperatorDetails: true });
  assert.equal(values[0].internationalFormat, "+44 7400 123456");
  assert.equal(values[0].nationalFormat, "07400 123456");
  assert.equal(values[0].numberType, "mobile");
  assert.equal(values[0].isoCountryCode, "GB");
  const plain = await client.searchOperatorInformation(["+447400123456"]);
  assert.equal(plain.values[0].operatorDetails, undefined);
});
