"use strict";

// Logs in as a third party's client does, reads device servers, and prints what it got as JSON. Reads from standard
// input, as JSON too: the url of the API, without its version, and the apiKey.

const fs = require("fs");
const { default: BunqJSClient } = require("@bunq-community/bunq-js-client");

const kept = new Map();
const storage = {
    get: key => kept.get(key),
    set: (key, value) => void kept.set(key, value),
    remove: key => void kept.delete(key),
};

async function main() {
    const { url, apiKey } = JSON.parse(fs.readFileSync(0, "utf8"));
    const client = new BunqJSClient(storage);
    client.setKeepAlive(false); // or a timer would keep the process
    await client.run(apiKey, [], "SANDBOX", "000102030405060708090a0b0c0d0e0f");
    client.Session.environmentUrl = url;

    await client.install();
    await client.registerDevice("a third party's client");
    await client.registerSession();
    const list = await client.ApiAdapter.get("/v1/device-server?count=200");
    const single = await client.ApiAdapter.get(`/v1/device-server/${client.Session.deviceId}`);

    const { deviceId, sessionExpiryTime, userInfo } = client.Session;
    console.log(JSON.stringify({ deviceId, sessionExpiryTime, userInfo, list, single }));
}

main().catch(error => {
    const { status, data } = error.response || {};
    console.error(status, JSON.stringify(data), error.stack || error);
    process.exitCode = 1;
});
