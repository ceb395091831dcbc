// What each of the two pages of test_relay.py runs: a peer connection that may use nothing but the relay.

var connection, channel, heard = null, refusals = [], states = [];
var told = {};

function promised(name) {
  if (!told[name]) {
    told[name] = {};
    told[name].promise = new Promise((resolve, reject) => Object.assign(told[name], { resolve, reject }));
  }
  return told[name];
}

function prepare(iceServers) {
  connection = new RTCPeerConnection({ iceServers, iceTransportPolicy: "relay" });
  connection.onconnectionstatechange = () => {
    states.push(connection.connectionState);
    if (connection.connectionState === "failed") promised("failed").reject(new Error("the connection failed"));
  };
  connection.onicecandidateerror = ({ errorCode, errorText, url }) => refusals.push(`${errorCode} ${errorText} ${url}`);
  connection.onicecandidate = (event) => event.candidate === null && promised("gathered").resolve();
  connection.ontrack = (event) => {
    const video = document.createElement("video");
    Object.assign(video, { srcObject: new MediaStream([event.track]), muted: true, autoplay: true });
    document.body.append(video);
  };
  const canvas = document.createElement("canvas");
  document.body.append(canvas);
  const drawing = canvas.getContext("2d");
  let hue = 0;
  setInterval(() => {
    drawing.fillStyle = `hsl(${(hue += 20)}, 90%, 50%)`;
    drawing.fillRect(0, 0, canvas.width, canvas.height);
  }, 50);
  connection.addTrack(canvas.captureStream(20).getVideoTracks()[0]);
}

function use(opened) {
  channel = opened;
  channel.onopen = () => promised("open").resolve();
  if (channel.readyState === "open") promised("open").resolve();
  channel.onmessage = (event) => {
    heard = event.data;
    promised("heard").resolve();
  };
}

async function described(description) {
  await connection.setLocalDescription(description);
  await promised("gathered").promise;
  return connection.localDescription.toJSON();
}

async function offer(iceServers) {
  prepare(iceServers);
  use(connection.createDataChannel("words"));
  return described(await connection.createOffer());
}

async function answer(iceServers, offered) {
  prepare(iceServers);
  connection.ondatachannel = (event) => use(event.channel);
  await connection.setRemoteDescription(offered);
  return described(await connection.createAnswer());
}

async function accept(answered) {
  await connection.setRemoteDescription(answered);
}

async function talk(words) {
  const unless = promised("failed").promise;
  await Promise.race([promised("open").promise, unless]);
  channel.send(words);
  await Promise.race([promised("heard").promise, unless]);
}

async function statistics() {
  return [...(await connection.getStats()).values()];
}

async function framesDecoded(least) {
  for (;;) {
    const found = (await statistics()).find((one) => one.type === "inbound-rtp" && one.kind === "video");
    if (found && found.framesDecoded >= least) return found.framesDecoded;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function candidateTypes() {
  const all = await statistics();
  const transport = all.find((one) => one.type === "transport");
  const pair = all.find((one) => one.id === transport.selectedCandidatePairId);
  return ["localCandidateId", "remoteCandidateId"].map((name) => all.find((one) => one.id === pair[name]).candidateType);
}

/** All that could tell why two pages do not meet. */
async function report() {
  const { connectionState, iceConnectionState, iceGatheringState, signalingState } = connection;
  const wanted = ["transport", "candidate-pair", "local-candidate", "remote-candidate", "data-channel"];
  const told = { connectionState, iceConnectionState, iceGatheringState, signalingState, states, refusals, heard };
  return { ...told, channel: channel?.readyState, statistics: (await statistics()).filter((one) => wanted.includes(one.type)) };
}
