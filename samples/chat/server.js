// The sample's server: it makes users, their tokens and one thread for all of them, and serves the page.

import { readdir, readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { ChatClient } from "@azure/communication-chat";
import { AzureCommunicationTokenCredential, parseConnectionString } from "@azure/communication-common";
import { CommunicationIdentityClient } from "@azure/communication-identity";

const connectionString = process.env.COMMUNICATION_SERVICES_CONNECTION_STRING;
if (!connectionString) {
  console.error('COMMUNICATION_SERVICES_CONNECTION_STRING is not set: eval "$(.venv/bin/landline env)"');
  process.exit(1);
}
const { endpoint } = parseConnectionString(connectionString);
const identity = new CommunicationIdentityClient(connectionString);
const users = new Map(); // the identifier of each name
let thread; // opened by who comes first, who adds the others

async function token(user) {
  return (await identity.getToken(user, ["chat"])).token;
}

async function open(owner, displayName) {
  const credential = new AzureCommunicationTokenCredential({ tokenRefresher: () => token(owner) });
  const client = new ChatClient(endpoint, credential);
  const made = await client.createChatThread(
    { topic: "Lunch" },
    { participants: [{ id: owner, displayName }] },
  );
  return client.getChatThreadClient(made.chatThread.id);
}

async function join(displayName) {
  const id = await identity.createUser();
  if (thread) await thread.addParticipants({ participants: [{ id, displayName }] });
  else thread = await open(id, displayName);
  users.set(displayName, id);
}

let last = Promise.resolve();

/** What the page of `displayName` needs. Here an application asks who has signed in; this one believes all it is told. */
async function me(displayName) {
  last = last.catch(() => {}).then(() => users.has(displayName) || join(displayName)); // one after the other
  await last;
  const user = users.get(displayName);
  return {
    endpoint,
    displayName,
    userId: user.communicationUserId,
    threadId: thread.threadId,
    token: await token(user),
  };
}

const here = new URL("./", import.meta.url);
const files = new Map([["/", await readFile(new URL("index.html", here))]]);
for (const name of await readdir(new URL("build/", here))) {
  files.set(`/build/${name}`, await readFile(new URL(`build/${name}`, here)));
}

async function answer(request, response) {
  const url = new URL(request.url, "http://localhost");
  const user = url.searchParams.get("user");
  if (url.pathname === "/me" && user) {
    response.setHeader("content-type", "application/json");
    response.setHeader("cache-control", "no-store");
    response.end(JSON.stringify(await me(user)));
  } else if (files.has(url.pathname)) {
    response.setHeader("content-type", url.pathname === "/" ? "text/html" : "text/javascript");
    response.end(files.get(url.pathname));
  } else {
    response.writeHead(404).end("Not found");
  }
}

const server = createServer((request, response) => {
  answer(request, response).catch((error) => {
    console.error(error.message);
    response.writeHead(502, { "content-type": "text/plain" }).end(error.message);
  });
});
server.listen(Number(process.env.PORT ?? 3000), "localhost", () => {
  const url = `http://localhost:${server.address().port}/`;
  console.log(`The chat is at ${url}?user=Ann and ${url}?user=Bob`);
});
