// What pytest tells these tests about the running server, and the few helpers they share.

import { request } from "node:https";
import { request as plainRequest } from "node:http";

export const connectionString = process.env.LANDLINE_CONNECTION_STRING;
export const phoneNumber = process.env.LANDLINE_PHONE_NUMBER;
export const endpoint = /endpoint=([^;]+)/.exec(connectionString)[1];
export const accessKey = /accesskey=([^;]+)/.exec(connectionString)[1];

let numbers = Math.floor(Math.random() * 900_000);

/** A number that no other test of this run uses. */
export function freshNumber() {
  numbers += 1;
  return `+1206${String(2_000_000 + numbers).padStart(7, "0")}`;
}

/** The claims of a token. */
export function claims(token) {
  return JSON.parse(Buffer.from(token.split(".")[1], "base64url").toString());
}

/** The texts on a handset after waiting for the first one, from the admin API. */
export function handsetInbox(number) {
  const path = `/handsets/${encodeURIComponent(number)}/inbox?after=0&wait=10`;
  return admin("GET", path).then((answer) => answer.value);
}

function admin(method, path) {
  const url = new URL(process.env.LANDLINE_ADMIN_URL.replace(/\/$/, "") + path);
  const send = url.protocol === "https:" ? request : plainRequest;
  const headers = { authorization: `Bearer ${process.env.LANDLINE_ADMIN_TOKEN}` };
  return new Promise((resolve, reject) => {
    const sent = send(url, { method, headers }, (response) => {
      const parts = [];
      response.on("data", (part) => parts.push(part));
      response.on("end", () => {
        const text = Buffer.concat(parts).toString();
        response.statusCode < 400 ? resolve(JSON.parse(text)) : reject(new Error(`${response.statusCode} ${text}`));
      });
    });
    sent.on("error", reject);
    sent.end();
  });
}
