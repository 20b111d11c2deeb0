ALTER TABLE "orders" DROP CONSTRAINT "orders_version_positive";--> statement-breakpoint
ALTER TABLE "orders" DROP COLUMN "version";