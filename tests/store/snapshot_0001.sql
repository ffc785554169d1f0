-- A database of format 1, as `sqlite3 .dump` writes it.
BEGIN TRANSACTION;
CREATE TABLE commands (
	position INTEGER NOT NULL, 
	session TEXT NOT NULL, 
	command_id TEXT NOT NULL, 
	reply TEXT NOT NULL, 
	created DOUBLE NOT NULL, 
	PRIMARY KEY (position), 
	CONSTRAINT commands_command_id UNIQUE (session, command_id), 
	FOREIGN KEY(session) REFERENCES sessions (name) ON DELETE CASCADE
);
INSERT INTO "commands" VALUES(1,'main','c3','{"success":true}',1000.5);
CREATE TABLE greenroom_migrations (
	number INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	applied DOUBLE NOT NULL, 
	PRIMARY KEY (number)
);
INSERT INTO "greenroom_migrations" VALUES(1,'conversations',1000.0);
CREATE TABLE jobs (
	position INTEGER NOT NULL, 
	job_id TEXT NOT NULL, 
	session TEXT NOT NULL, 
	job_type TEXT NOT NULL, 
	args TEXT NOT NULL, 
	created DOUBLE NOT NULL, 
	command_id TEXT, 
	reply TEXT NOT NULL, 
	partial TEXT NOT NULL, 
	finished DOUBLE, 
	PRIMARY KEY (position), 
	CONSTRAINT jobs_job_id UNIQUE (job_id), 
	CONSTRAINT jobs_command_id UNIQUE (session, command_id), 
	FOREIGN KEY(session) REFERENCES sessions (name) ON DELETE CASCADE
);
INSERT INTO "jobs" VALUES(1,'j1','main','response','{}',1002.5,'c1','{"success":true,"job_id":"j1"}','',1000.5);
INSERT INTO "jobs" VALUES(2,'j2','main','response','{"include_audio":true}',1003.5,'c2','{"success":true,"job_id":"j2"}','So far',NULL);
CREATE TABLE lines (
	position INTEGER NOT NULL, 
	session TEXT NOT NULL, 
	line_id TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	user_name TEXT NOT NULL, 
	timestamp DOUBLE NOT NULL, 
	content TEXT NOT NULL, 
	extra TEXT NOT NULL, 
	PRIMARY KEY (position), 
	CONSTRAINT lines_line_id UNIQUE (session, line_id), 
	FOREIGN KEY(session) REFERENCES sessions (name) ON DELETE CASCADE
);
INSERT INTO "lines" VALUES(1,'main','l1','chat','Ada',1001.25,'Hello, 漢字 😀0000001ad800','{"emotion":"joy"}');
INSERT INTO "lines" VALUES(2,'main','l2','raw','Eliza',1002.0,'How do you do?','{}');
CREATE TABLE sessions (
	name TEXT NOT NULL, 
	state TEXT NOT NULL, 
	created DOUBLE NOT NULL, 
	updated DOUBLE NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "sessions" VALUES('main','{"binding":"eliza","said":"Grüßed800"}',1000.5,1000.5);
CREATE INDEX lines_order ON lines (session, position);
COMMIT;
