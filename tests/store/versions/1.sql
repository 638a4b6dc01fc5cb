BEGIN TRANSACTION;
CREATE TABLE blocks (
        block INTEGER PRIMARY KEY,
        first_ns INTEGER NOT NULL,
        last_ns INTEGER NOT NULL
    ) STRICT;
INSERT INTO "blocks" VALUES(0,1795389620129012651,1795389620136402488);
CREATE TABLE chain (                   -- both ends of the journal: a lost last row shows too
        one INTEGER PRIMARY KEY CHECK (one = 1),
        serial INTEGER NOT NULL,
        checksum BLOB NOT NULL,
        retired_serial INTEGER NOT NULL,
        retired_checksum BLOB NOT NULL
    ) STRICT;
INSERT INTO "chain" VALUES(1,9,X'01400F4434FEE9511EB8C0037C4E0965',0,X'');
CREATE TABLE fills (
        order_id TEXT NOT NULL,
        fill_id TEXT NOT NULL,
        broker_order_id TEXT NOT NULL,
        quantity INTEGER NOT NULL,
        price INTEGER NOT NULL,
        epoch_ns INTEGER NOT NULL,
        PRIMARY KEY (order_id, fill_id)
    ) STRICT, WITHOUT ROWID;
INSERT INTO "fills" VALUES('sample-1','f1','b1',4,65250000000,5);
CREATE TABLE halts (                   -- one row while the kill switch is on, none otherwise
        one INTEGER PRIMARY KEY CHECK (one = 1),
        reason TEXT NOT NULL
    ) STRICT;
INSERT INTO "halts" VALUES(1,'sample');
CREATE TABLE journal (
        serial INTEGER PRIMARY KEY,
        epoch_ns INTEGER NOT NULL,
        version INTEGER NOT NULL,          -- of the body's form
        kind TEXT NOT NULL,
        order_id TEXT,
        body TEXT NOT NULL,
        checksum BLOB NOT NULL             -- over this row and the checksum of the row before
    ) STRICT;
INSERT INTO "journal" VALUES(1,1795389620129012651,1,'Claimed','sample-1','{"epoch_ns":1795389620129012651,"order":{"client_order_id":"sample-1","order_type":"LIMIT","price":"652.55","product":"INTRADAY","quantity":10,"side":"BUY","symbol":"NSE:SBIN-EQ","trigger_price":null,"validity":"DAY"},"simulated":true}',X'4C39659E90003DD561A973B86E9A8A0E');
INSERT INTO "journal" VALUES(2,1795389620129012651,1,'Intent','sample-1','{"attempt":1,"epoch_ns":0,"fingerprint":"","order":{"client_order_id":"sample-1","order_type":"LIMIT","price":"652.55","product":"INTRADAY","quantity":10,"side":"BUY","symbol":"NSE:SBIN-EQ","trigger_price":null,"validity":"DAY"},"provider":"fyers","simulated":true,"tag":"t1"}',X'AFDFE499EBE1D3D32CCAA64FC9F502C3');
INSERT INTO "journal" VALUES(3,1795389620132757543,1,'Step','sample-1','{"after":"ACCEPTED","attempt":0,"average_price":"0","before":"SUBMITTING","broker_order_id":"b1","epoch_ns":0,"filled_quantity":0,"message":"","order_id":"sample-1","provider":"","tag":""}',X'AE8A22CB5B1B8E43D2E1C0C510B77641');
INSERT INTO "journal" VALUES(4,1795389620132757543,1,'FillSeen','sample-1','{"epoch_ns":0,"fill":{"broker_order_id":"b1","epoch_ns":5,"fill_id":"f1","price":"652.5","quantity":4},"order_id":"sample-1"}',X'546F9E1CCF69B9366F1D45F816E29914');
INSERT INTO "journal" VALUES(5,1795389620132757543,1,'Step','sample-1','{"after":"PARTIALLY_FILLED","attempt":0,"average_price":"0","before":"ACCEPTED","broker_order_id":"","epoch_ns":0,"filled_quantity":4,"message":"","order_id":"sample-1","provider":"","tag":""}',X'B05BD316D7D50A51FFE1AA5243880DCE');
INSERT INTO "journal" VALUES(6,1795389620132757543,1,'LimiterSaved',NULL,'{"epoch_ns":0,"provider":"fyers","state_json":"{}"}',X'6356B1119F36F211C8B7565117D3465C');
INSERT INTO "journal" VALUES(7,1795389620132757543,1,'Halted',NULL,'{"epoch_ns":0,"reason":"sample"}',X'A6379913FB32A8A96393194EE10E2DE8');
INSERT INTO "journal" VALUES(8,1795389620133922168,1,'Claimed','sample-2','{"epoch_ns":1795389620133922168,"order":{"client_order_id":"sample-2","order_type":"MARKET","price":null,"product":"INTRADAY","quantity":1,"side":"BUY","symbol":"NSE:SBIN-EQ","trigger_price":null,"validity":"DAY"},"simulated":true}',X'1E1714BA1535807738406AA5DAFB9598');
INSERT INTO "journal" VALUES(9,1795389620133922168,1,'Step','sample-2','{"after":"DENIED","attempt":0,"average_price":"0","before":"NEW","broker_order_id":"","epoch_ns":0,"filled_quantity":0,"message":"too large","order_id":"sample-2","provider":"","tag":""}',X'01400F4434FEE9511EB8C0037C4E0965');
CREATE TABLE limiter_states (
        provider TEXT PRIMARY KEY,
        state TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
INSERT INTO "limiter_states" VALUES('fyers','{}');
CREATE TABLE trades (
        id INTEGER PRIMARY KEY,
        order_id TEXT NOT NULL UNIQUE,
        symbol TEXT NOT NULL,
        side TEXT NOT NULL,
        quantity INTEGER NOT NULL,
        price INTEGER NOT NULL,            -- rupees in units of 1e-8
        status TEXT NOT NULL,
        provider TEXT NOT NULL,
        broker_order_id TEXT NOT NULL,
        tag TEXT NOT NULL,
        filled_quantity INTEGER NOT NULL,
        simulated INTEGER NOT NULL,
        message TEXT NOT NULL,
        epoch_ns INTEGER NOT NULL,
        updated_ns INTEGER NOT NULL,
        attempt INTEGER NOT NULL DEFAULT 0,
        request TEXT,                      -- the order as JSON; NULL for a row that is not journaled
        fingerprint TEXT
    ) STRICT;
INSERT INTO "trades" VALUES(1,'sample-1','NSE:SBIN-EQ','BUY',10,65250000000,'PARTIALLY_FILLED','fyers','b1','t1',4,1,'',1795389620129012651,1795389620132757543,1,'{"client_order_id":"sample-1","order_type":"LIMIT","price":"652.55","product":"INTRADAY","quantity":10,"side":"BUY","symbol":"NSE:SBIN-EQ","trigger_price":null,"validity":"DAY"}','a05dfe912a5752e5967ba17ebf87c149');
INSERT INTO "trades" VALUES(2,'sample-2','NSE:SBIN-EQ','BUY',1,0,'DENIED','','','',0,1,'too large',1795389620133922168,1795389620133922168,0,'{"client_order_id":"sample-2","order_type":"MARKET","price":null,"product":"INTRADAY","quantity":1,"side":"BUY","symbol":"NSE:SBIN-EQ","trigger_price":null,"validity":"DAY"}','bc40c7a4f137bc5185bb4c96fe6332e3');
INSERT INTO "trades" VALUES(3,'sample-3','NSE:INFY-EQ','BUY',5,150025000000,'NEW','','','',0,1,'',1795389620136402488,1795389620136402488,0,NULL,NULL);
CREATE INDEX trades_by_block_and_symbol ON trades (id >> 10, symbol);
CREATE INDEX trades_open ON trades (id) WHERE request IS NOT NULL
        AND status NOT IN ('DENIED', 'FILLED', 'CANCELLED', 'REJECTED', 'EXPIRED');
CREATE INDEX journal_by_order ON journal (order_id) WHERE order_id IS NOT NULL;
COMMIT;
