// Stays connected, and says on its output when it is, is not, and what messages it hears; ends with its input.

import "./browser.js";
import { AzureCommunicationTokenCredential } from "@azure/communication-common";
import { ChatClient } from "./node_modules/@azure/communication-chat/dist/browser/index.js";

const client = new ChatClient(process.env.CHAT_ENDPOINT, new AzureCommunicationTokenCredential(process.env.CHAT_TOKEN));
await client.startRealtimeNotifications();
client.on("realTimeNotificationConnected", () => console.log("connected"));
client.on("realTimeNotificationDisconnected", () => console.log("disconnected"));
client.on("chatMessageReceived", (event) => console.log(`message ${event.message}`));
process.stdin.on("end", () => process.exit()).resume();
