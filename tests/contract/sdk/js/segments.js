// Reads a JSON list of texts, writes for each what sms-segments-calculator makes of it: [encoding, segments].

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const { SegmentedMessage } = createRequire(import.meta.url)("sms-segments-calculator");
const counted = JSON.parse(readFileSync(0, "utf8")).map((text) => {
  const message = new SegmentedMessage(text);
  return [message.encodingName, message.segmentsCount];
});
process.stdout.write(JSON.stringify(counted));
