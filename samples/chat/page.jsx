// One user's page: the official ChatComposite, connected to Landline.

import { AzureCommunicationTokenCredential } from "@azure/communication-common";
import {
  ChatComposite,
  createAzureCommunicationChatAdapterFromClient,
  createStatefulChatClient,
  fromFlatCommunicationIdentifier,
} from "@azure/communication-react";
import { createRoot } from "react-dom/client";

const name = new URLSearchParams(location.search).get("user");

/** Who we are, as our own server says; it alone has the resource's key. */
async function me() {
  const answer = await fetch(`/me?user=${encodeURIComponent(name)}`);
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

async function connect({ endpoint, displayName, userId, threadId, token }) {
  const credential = new AzureCommunicationTokenCredential({
    token,
    tokenRefresher: async () => (await me()).token,
    refreshProactively: true,
  });
  const client = createStatefulChatClient({
    endpoint,
    credential,
    displayName,
    userId: fromFlatCommunicationIdentifier(userId),
  });
  const thread = client.getChatThreadClient(threadId);
  await client.startRealtimeNotifications();
  const { dataset } = document.documentElement; // index.html shows when it is "away"
  client.on("realTimeNotificationDisconnected", () => (dataset.connection = "away"));
  client.on("realTimeNotificationConnected", () => {
    dataset.connection = "live";
    catchUp(thread).catch(console.warn); // cut off once more: the next connection does it again
  });
  return createAzureCommunicationChatAdapterFromClient(client, thread);
}

/** What happened while we were away is not sent later. The client puts all that it reads into what is shown. */
async function catchUp(thread) {
  await thread.getProperties();
  await thread.listParticipants().byPage().next();
  await thread.listMessages({ maxPageSize: 200 }).byPage().next();
}

const Welcome = () => (
  <form className="notice">
    <label>
      Your name <input name="user" required autoFocus />
    </label>{" "}
    <button>Join</button>
  </form>
);

const Unreachable = ({ endpoint, error }) => (
  <div className="notice" role="alert">
    <p>The chat cannot be reached: {error.message}</p>
    {endpoint && (
      <p>
        If this browser does not trust the certificate yet, open <a href={endpoint}>{endpoint}</a>, accept it there, and
        load this page again.
      </p>
    )}
  </div>
);

const root = createRoot(document.getElementById("root"));
if (name) {
  document.title = `${name}: chat`;
  let user;
  try {
    user = await me();
    root.render(<ChatComposite adapter={await connect(user)} />);
  } catch (error) {
    root.render(<Unreachable endpoint={user?.endpoint} error={error} />);
  }
} else {
  root.render(<Welcome />);
}
